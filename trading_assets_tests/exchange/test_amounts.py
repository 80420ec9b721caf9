from decimal import Decimal

import pytest

from trading_assets.exchange.amounts import price_text


@pytest.mark.parametrize(
    ("price", "text"),
    [
        ("1.90492E+8", "190,492,000"),
        ("190492000.00000000", "190,492,000"),
        ("190492123.4567", "190,492,123.5"),
        ("3512.456789123", "3,512.456789"),
        ("0.000012340", "0.00001234"),
    ],
)
def test_a_price_is_written_without_an_exponent_and_without_empty_digits(
    price: str, text: str
) -> None:
    assert price_text(Decimal(price)) == text
