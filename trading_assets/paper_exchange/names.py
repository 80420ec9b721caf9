"""The names of coins in `/v1/market/all`."""

_NAMES = {
    "BTC": ("비트코인", "Bitcoin"),
    "ETH": ("이더리움", "Ethereum"),
    "XRP": ("엑스알피(리플)", "XRP"),
    "SOL": ("솔라나", "Solana"),
    "DOGE": ("도지코인", "Dogecoin"),
    "ADA": ("에이다", "Cardano"),
    "AVAX": ("아발란체", "Avalanche"),
    "LINK": ("체인링크", "Chainlink"),
    "DOT": ("폴카닷", "Polkadot"),
    "TRX": ("트론", "TRON"),
}


def korean_name(market: str) -> str:
    """The Korean name of the market's coin; its code when we know no name."""
    base = market.partition("-")[2]
    return _NAMES.get(base, (base, base))[0]


def english_name(market: str) -> str:
    """The English name of the market's coin; its code when we know no name."""
    base = market.partition("-")[2]
    return _NAMES.get(base, (base, base))[1]
