"""What the telecom sells: price points (CPCs) with service, category, period and price, and the files that tell it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

import openpyxl

from include.common.files import atomic_write
from sandbox.commercial_log.tables import Table

PAY_PER_DOWNLOAD = 99_999
USED, TRIALS = 120, 25  # price points with subscribers: paid, and free ones that lead to a paid one
FREE, SOLD = 59, 1_076  # all free ones; all others
UNLISTED = 2  # used ones that no reference file knows
LAYOUT_B_ROWS, WORKBOOK_ROWS, MUSIC_ROWS = 661, 408, 113

# Share of all renewals, by rank: what the ranks up to the first number have together.
RENEWAL_SHARES = ((1, 10.0), (5, 20.0), (10, 19.0), (20, 25.0), (50, 24.0), (USED, 2.0))
MONTHLY_RANKS = {18, 26, 32, 38, 44, *range(53, USED + 1, 2)}
QUARTERLY_RANKS = {62, 84, 106}
TRIAL_RANKS = (1, 2, 4, 5, 7, 8, 10, 11, 12, 14, 15, 17, *range(19, 50, 3), 52, 54)
TRIAL_DAYS = Table((7, 55), (30, 35), (90, 10))

# Of what nobody uses; with the used ones 49 % are weekly, 22 % monthly, 27 % downloads.
PERIODS = Table((7, 43), (30, 17.5), (PAY_PER_DOWNLOAD, 38), (0, 0.7), (1, 0.5), (90, 0.3))
WEEKLY_CENTS = Table((99, 20), (123, 15), (164, 15), (191, 15), (206, 10), (247, 10), (299, 15))
MONTHLY_CENTS = Table((536, 40), (660, 30), (826, 15), (908, 10), (1_587, 5))
DOWNLOAD_CENTS = Table((50, 20), (123, 30), (247, 25), (363, 15), (600, 10))
CENTS = {7: WEEKLY_CENTS, 30: MONTHLY_CENTS, PAY_PER_DOWNLOAD: DOWNLOAD_CENTS}
QUARTERLY_CENTS, DAILY_CENTS = 1_587, 41

STEMS = {
    "Music": ("Ritmo Latino", "Canción del Día", "Tonos Top", "Radio Ola", "Bailes, Fiesta y Más", "Coplas"),
    "Games": ("Arcade Total", "Puzle Mágico", "Ajedrez Vivo", "Carreras", "Mundo Gamer", "Piñata"),
    "News": ("Noticias Diarias", "Titulares", "Prensa Rápida", "El Tiempo Hoy"),
    "Free Time": ("Escudo Movil", " Viajes y +", "Horóscopo", "Cocina Fácil", "Cine, Series y Ocio"),
    "Light": ("Humor Móvil", "Citas", "Chistes"),
    "Beauty and Health": ("Vida Sana", "Yoga en Casa", "Belleza Natural"),
    "Kids": ("Cuentos", "Niños y Juegos"),
    "Education": ("Inglés Ya", "Aula Móvil"),
    "Images": ("Fondos HD", "Postales"),
    "Sports": ("Goles en Vivo", "Liga Móvil"),
    "": ("Varios",),
}
CATEGORIES = Table(
    *(("Music", 22), ("Games", 21), ("Free Time", 14), ("News", 10), ("Light", 9), ("Beauty and Health", 7)),
    *(("Kids", 5), ("Education", 4), ("Images", 4), ("Sports", 3), ("", 1)),
)
ENDINGS = ("", " Plus", " Premium", " Club", " VIP", " 24h", " Go", " Pro", " Max", " Uno", " Directo", " Joven")
PROVIDERS = ("ExampleMedia", "Sonora Digital", "Juegalia", "Ventana Móvil", "Prisma Labs", "Norte Contenidos")
MODELS = {
    PAY_PER_DOWNLOAD: "PPD",
    7: "Weekly subscription",
    30: "Monthly subscription",
    90: "Trimonthly subscription",
    1: "One day subscription",
    0: "Other",
}
ODD_MODELS = ("Bimontly subscription", "3 days subscription", "45 days subscription", "Other", "Sesion", None)
WORKBOOK_COLUMNS = (
    *("Provider", "TME Category", "Service Name", "Short Code", "CPC", "CPC to upgrade", "Subscription Model"),
    *("Price", "Price with VAT", "Currency", "Free Period", "Launch Date", "End Date", "Status", "Owner"),
    *("Adult", "WAP", "WEB", "SMS", "IVR", "Keyword On", "Keyword Off", "Help Text", "Landing Page"),
    *("Support Phone", "Support Mail", "Revenue Share", "Contract", "Max Monthly", "Double Opt-in"),
    *("Content Type", "Region", "Notes", "Last Review"),
)


@dataclass(frozen=True)
class PricePoint:
    """One CPC. ``period`` is in days, ``cents`` is the price (None: unknown), ``trial`` its free sibling's CPC."""

    cpc: int
    service: str
    category: str
    provider: str
    period: int
    cents: int | None
    trial: int | None = None
    trial_days: int = 0

    @property
    def price(self) -> str:
        return "" if self.cents is None else f"{self.cents / 100:.2f}"


@dataclass(frozen=True)
class Catalogue:
    """All price points that cost something: the used ones by rank, then the others. Free ones hang on these."""

    points: tuple[PricePoint, ...]
    renewal_shares: tuple[float, ...]  # of the used ones; they sum to 1

    @property
    def used(self) -> tuple[PricePoint, ...]:
        return self.points[:USED]

    @property
    def listed(self) -> tuple[PricePoint, ...]:
        """What the reference files know: two rarely used price points are missing."""
        return self.points[: USED - UNLISTED] + self.points[USED:]

    @property
    def downloads(self) -> tuple[PricePoint, ...]:
        return tuple(each for each in self.listed if each.period == PAY_PER_DOWNLOAD and each.cents)[:12]


@cache
def make_catalogue(seed: int = 1) -> Catalogue:
    """The catalogue of a seed: 1,135 CPCs, of which 145 have subscribers."""
    random = Random(f"catalogue {seed}")
    codes = random.sample(range(30_000, 48_000), SOLD + FREE)
    services = _services(random)
    free = iter(codes[SOLD:])
    points = []
    for rank, cpc in zip(range(1, SOLD + 1), codes, strict=False):
        category, service = services[(rank - 1) * 5 // 8 % len(services)]  # several price points share a service
        if rank <= USED:
            period = 30 if rank in MONTHLY_RANKS else 90 if rank in QUARTERLY_RANKS else 7
        else:
            period = PERIODS.at(random.random())
        has_trial = rank in TRIAL_RANKS or USED < rank <= USED + FREE - TRIALS
        points.append(
            PricePoint(
                cpc=cpc,
                service=service,
                category=category,
                provider=random.choice(PROVIDERS),
                period=period,
                cents=_cents(period, random) if rank <= USED or random.random() > 0.165 else None,
                trial=next(free) if has_trial else None,
                trial_days=TRIAL_DAYS.at(random.random()) if has_trial else 0,
            )
        )
    return Catalogue(tuple(points), _renewal_shares())


def _services(random: Random) -> list[tuple[str, str]]:
    """Categories and names; the first are the most used."""
    endings = {stem: iter(_endings()) for stems in STEMS.values() for stem in stems}
    found = []
    for _ in range(SOLD * 5 // 8):
        category = CATEGORIES.at(random.random())
        stem = random.choice(STEMS[category])
        found.append((category, stem + next(endings[stem])))
    return found


def _endings() -> Iterable[str]:
    yield from ENDINGS
    for number in count(2):
        yield from (f"{ending} {number}" for ending in ENDINGS)


def _cents(period: int, random: Random) -> int:
    if period in CENTS:
        return CENTS[period].at(random.random())
    return QUARTERLY_CENTS if period == 90 else DAILY_CENTS


def _renewal_shares() -> tuple[float, ...]:
    shares: list[float] = []
    for last, together in RENEWAL_SHARES:
        ranks = last - len(shares)
        slope = [1.15 - 0.3 * (n + 0.5) / ranks for n in range(ranks)]
        shares += [together * each / sum(slope) for each in slope]
    return tuple(share / sum(shares) for share in shares)


def write_layout_a(path: Path, catalogue: Catalogue) -> None:
    """``MASTERCPC.csv`` of eight columns: 1,079 rows, a free price point beside the paid one it leads to."""
    rows: list[Sequence[object]] = []
    for number, point in enumerate(catalogue.listed):
        free = (point.trial, point.trial_days) if point.trial else ("", "")
        together = f"{{{point.trial}, {point.cpc}}}" if point.trial else f"{{{point.cpc}}}"
        service = _spelled(point, number)
        rows.append((service, point.category, *free, point.cpc, point.period, point.price, together))
    rows += [(*row[:6], "9.99", row[7]) for row in rows[-5:]]  # a second row for the same CPC, with another price
    header = "Service Name,TME Category,Free_CPC,Free_Period,Upgrade_CPC,CHG_Period,CHG_Price,CPCs"
    _write_csv(path, header.split(","), rows)


def write_layout_b(path: Path, catalogue: Catalogue) -> None:
    """``MASTERCPC.csv`` of five columns: 661 rows, among them all price points in use but two."""
    rows: list[Sequence[object]] = []
    for number, point in enumerate(catalogue.listed):
        rows.append((point.cpc, _spelled(point, number), point.category, point.period, point.price))
        if point.trial:
            rows.append((point.trial, point.service, point.category, point.trial_days, "0.00"))
    _write_csv(path, ("cpc", "service_name", "tme_category", "cpc_period", "cpc_price"), rows[:LAYOUT_B_ROWS])


def _spelled(point: PricePoint, number: int) -> str:
    """As typed: 1 % without a name, 2 % with blanks at the end; never those with subscribers."""
    if number > USED and number % 100 == 7:
        return ""
    return point.service + "  " * (number % 50 == 3)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_workbook(path: Path, catalogue: Catalogue) -> None:
    """The catalogue people keep in Excel: 408 rows of 34 columns on the first sheet, with what people do to one.

    Three rows have no numeric CPC, two repeat a CPC with another price, six have an unusual subscription model.
    """
    points = catalogue.listed[: WORKBOOK_ROWS - 5]
    rows = [_workbook_row(point) for point in points]
    for position, model in zip(range(200, 200 + len(ODD_MODELS)), ODD_MODELS, strict=True):
        rows[position]["Subscription Model"] = model
    rows += [{**rows[position], "Price": 99.0} for position in (10, 20)]
    rows += [{**rows[position], "CPC": cpc} for position, cpc in ((30, None), (31, "pending"), (32, "n/a"))]
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Catalogue"
    sheet.append(WORKBOOK_COLUMNS)
    for row in rows:
        sheet.append([row.get(column) for column in WORKBOOK_COLUMNS])
    book.create_sheet("Changes").append(["see the first sheet"])
    with atomic_write(path) as temporary:
        book.save(temporary)


def _workbook_row(point: PricePoint) -> dict[str, object]:
    price = None if point.cents is None else point.cents / 100
    return {
        "Provider": point.provider,
        "TME Category": point.category or None,
        "Service Name": point.service,
        "CPC": point.cpc,
        "CPC to upgrade": str(point.cpc) if point.trial else None,
        "Subscription Model": MODELS[point.period],
        "Price": price,
        "Price with VAT": price and round(price * 1.21, 2),
        "Currency": "EUR",
        "Free Period": point.trial_days or None,
        "Status": "LIVE",
    }


def write_music_cpcs(path: Path, catalogue: Catalogue) -> None:
    """``Music_CPCs.txt``: 113 price points of music, one a line; one of them is none that anybody sells."""
    music = [point.cpc for point in catalogue.points if point.category == "Music"][: MUSIC_ROWS - 1]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{cpc}\n" for cpc in [*music, 29_999]), encoding="ascii")


def write_excluded_users(path: Path, users: Iterable[tuple[str, str | None]], *, legacy: bool = False) -> None:
    """``Users_No_Limits.csv`` of (phone, user id or None); the legacy form has phones only, and no header."""
    lines = [phone if legacy else f"{phone},{user or ''}" for phone, user in users]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([*([] if legacy else ["msisdn,tmuserid"]), *lines, ""]), encoding="ascii")
