"""Upbit's refusals of private requests: HTTP status, error name and message.

Names and statuses: docs.upbit.com (errors); messages as documented where a sample exists. The
quotation endpoints have their own form (`quotation.QuotationError`).
"""

from typing import Any


class Refusal(Exception):
    """A request that the exchange refuses. name: what a client branches on, with the status."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(f"{status} {name}: {message}")
        self.status = status
        self.name = name
        self.message = message

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"name": self.name, "message": self.message}}


def invalid_parameter(message: str = "잘못된 파라미터") -> Refusal:
    return Refusal(400, "invalid_parameter", message)


def validation_error(message: str) -> Refusal:
    return Refusal(400, "validation_error", message)


def unknown_market(market: str) -> Refusal:
    return Refusal(400, "notfoundmarket", f"다음 마켓에 없는 종목입니다: {market}")


def order_not_found() -> Refusal:
    return Refusal(404, "order_not_found", "주문을 찾지 못했습니다.")


def duplicated_identifier() -> Refusal:
    return Refusal(400, "duplicated_identifier", "이미 사용된 identifier입니다.")


def body_not_supported() -> Refusal:
    return Refusal(
        400,
        "QUERY_PARAMETER_NOT_SUPPORTED",
        "이 API는 쿼리 파라미터 형식의 요청만 지원합니다. 요청 본문에 값을 포함할 수 없습니다.",
    )


def in_maintenance() -> Refusal:
    return Refusal(
        403,
        "market_offline",
        "시스템 점검 중입니다. 점검이 완료된 후에 다시 시도해주세요.",
    )


def broken() -> Refusal:
    return Refusal(500, "internal_server_error", "Internal Server Error")
