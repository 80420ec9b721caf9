"""Who asks: the JWT of a private request, its nonce and its query hash, as Upbit checks them.

Source: docs.upbit.com/kr/reference/auth. Without keys in the settings any access key is taken and
its signature cannot be checked, because the secret of an unknown key is not known; form, algorithm,
nonce and query hash are checked all the same. All keys belong to the one account.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from trading_assets.paper_exchange.refusals import Refusal

_DIGESTS = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}
# A client that sends 30 requests a second does not come round to an old nonce for an hour.
_NONCES_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Keys:
    """The pairs that are accepted, secret by access key; with `any_pair` unknown ones as well."""

    secrets: Mapping[str, str]
    any_pair: bool

    def __repr__(self) -> str:
        return f"Keys({len(self.secrets)} pairs, any_pair={self.any_pair})"


ANY_PAIR = Keys({}, any_pair=True)


class Gate:
    """Checks tokens and remembers their nonces."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._nonces: OrderedDict[tuple[str, str], None] = OrderedDict()

    def claims(self, authorization: str | None) -> Mapping[str, Any]:
        """The claims of the bearer token, its nonce used up. Raises Refusal (401)."""
        if not authorization:
            raise Refusal(401, "no_authorization_token", "Authorization token is missing.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unverified()
        claims = self._verified(token.strip())
        used = (claims["access_key"], claims["nonce"])
        if used in self._nonces:
            raise Refusal(401, "nonce_used", "이미 요청한 nonce값이 다시 사용되었습니다.")
        self._nonces[used] = None
        if len(self._nonces) > _NONCES_KEPT:
            self._nonces.popitem(last=False)
        return claims

    def _verified(self, token: str) -> Mapping[str, Any]:
        parts = token.split(".")
        if len(parts) != 3:
            raise _unverified()
        header, claims = _object(parts[0]), _object(parts[1])
        digest = _DIGESTS.get(str(header.get("alg")))
        access_key, nonce = claims.get("access_key"), claims.get("nonce")
        if digest is None or not isinstance(nonce, str) or not nonce:
            raise _unverified()
        if not isinstance(access_key, str) or not access_key:
            raise _unverified()
        secret = self._keys.secrets.get(access_key)
        if secret is None:
            if self._keys.any_pair:
                return claims
            raise Refusal(401, "invalid_access_key", "잘못된 엑세스 키입니다.")
        signed = hmac.new(secret.encode(), f"{parts[0]}.{parts[1]}".encode(), digest).digest()
        if not hmac.compare_digest(signed, _bytes(parts[2])):
            raise _unverified()
        return claims


def check_query(claims: Mapping[str, Any], query: str) -> None:
    """Raise Refusal unless the token was made for `query`, the un-encoded `k=v&k=v`."""
    claimed = claims.get("query_hash")
    if claimed is None and not query:
        return
    wanted = hashlib.sha512(query.encode()).hexdigest()
    algorithm = claims.get("query_hash_alg", "SHA512")
    if algorithm != "SHA512" or not hmac.compare_digest(str(claimed).lower(), wanted):
        raise Refusal(401, "invalid_query_payload", "Failed to verify the query of Jwt.")


def query_of_url(raw: bytes) -> str:
    """What a GET or DELETE hashes: its query un-encoded, in the order that was sent."""
    return unquote(raw.decode("ascii", errors="replace"))


def query_of_body(fields: Sequence[tuple[str, Any]]) -> str:
    """What a POST hashes: the pairs of its JSON body in its order; null ones are left out."""
    pairs = []
    for name, value in fields:
        if isinstance(value, list):
            pairs += [f"{name}[]={_shown(one)}" for one in value]
        elif value is not None:
            pairs.append(f"{name}={_shown(value)}")
    return "&".join(pairs)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_bytes(part))
    except ValueError:
        raise _unverified() from None
    if not isinstance(found, dict):
        raise _unverified()
    return found


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise _unverified() from None


def _unverified() -> Refusal:
    return Refusal(401, "jwt_verification", "Failed to verify Jwt token.")
