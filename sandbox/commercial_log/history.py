"""Years of closed months in the booked-business database, made by SQLite itself."""

from __future__ import annotations

import json
import sqlite3
from calendar import monthrange
from collections.abc import Iterable
from datetime import date

from include.common.sql import transaction
from sandbox.commercial_log.generator import DIRECT_RESPONSE, IAS
from sandbox.commercial_log.layout import month_after, month_text
from sandbox.commercial_log.people import WORLDLINK, BillCode, make_people
from sandbox.commercial_log.tables import Table, apportion

MONTHLY_GROWTH = 1.037  # 108,000 spots in 2021, 403,000 in 2024
SLOTS = 1_000  # a distribution becomes a list of this many values, and a spot takes one of them
BATCH = "historical_0"
CLOSED_BY = "history"

# Revenue type, spot type, share: what is in `spots` carries no Trade and only the codes of the type column.
KINDS: Table[tuple[str | None, str]] = Table(
    *(((IAS, "COM"), 36), ((IAS, "BNS"), 18), ((IAS, "BB"), 4), ((IAS, "AV"), 2), ((IAS, "CRD"), 0.5)),
    *(((DIRECT_RESPONSE, "COM"), 24), ((DIRECT_RESPONSE, "BNS"), 8)),
    *((("Paid Programming", "PRG"), 3), (("Branded Content", "PRD"), 2.5), (("Other", "SVC"), 1.5)),
    *((("Local", "COM"), 0.3), ((None, ""), 0.2)),
)
MARKETS = Table(
    *(("CVC", 27), ("SEA", 22), ("SFO", 17), ("LAX", 14), ("NYC", 7), ("CMP", 5), ("HOU", 4), ("DAL", 4)),
)
LANGUAGES: Table[str | None] = Table(
    *(("M", 24), ("V", 21), ("SA", 16), ("T", 12), ("C", 9), ("K", 7), ("E", 6), ("Hm", 2), ("J", 1.5)),
    *(("P", 0.5), ("L", 0.3), ("F", 0.2), (None, 0.5)),
)
WINDOWS = Table(
    *((("06:00:00", "23:59:00"), 45), (("06:00:00", "08:00:00"), 15), (("13:00:00", "16:00:00"), 15)),
    *((("20:00:00", "23:30:00"), 22), (("23:30:00", "24:00:00"), 3)),
)
GROSS = Table((12.0, 15), (21.0, 20), (40.0, 25), (300 / 0.85, 5), (63.0, 20), (150.0, 10), (350.0, 5))

CREATE_CHOICES = """
CREATE TEMP TABLE history_choices (
    slot INTEGER PRIMARY KEY,
    bill_code, customer_id, agency_id, sales_person, worldlink_code, worldlink_customer_id, worldlink_agency_id,
    revenue_type, spot_type, market_name, market_id, language_code, language_id, time_in, time_out, gross
)"""

# Grain: one spot of one closed month. Every attribute takes its own slot, picked by its own multiplier.
INSERT_SPOTS = f"""
WITH RECURSIVE numbers (n) AS (
    SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :first + :count - 1
), drawn AS (
    SELECT
        n,
        date(:month_start, '+' || ((n * 7919 + :seed) % :days) || ' days') AS air_date,
        (n * 48271 + :seed) % {SLOTS} AS code_slot,
        (n * 69621 / {SLOTS} + :seed) % {SLOTS} AS kind_slot,
        (n * 16807 / 7 + :seed) % {SLOTS} AS market_slot,
        (n * 40692 / 11 + :seed) % {SLOTS} AS language_slot,
        (n * 39373 / 13 + :seed) % {SLOTS} AS gross_slot
    FROM numbers
)
INSERT INTO spots (
    bill_code, air_date, end_date, day_of_week, time_in, time_out, length_seconds, media, comments, language_code,
    format, sequence_number, line_number, spot_type, estimate, gross_rate, spot_value, broadcast_month, broker_fees,
    station_net, sales_person, revenue_type, billing_type, agency_flag, affidavit_flag, contract, market_name,
    customer_id, agency_id, market_id, language_id, load_date, source_file, is_historical, effective_date,
    import_batch_id, spot_category, row_hash
)
SELECT
    iif(worldlink, c.worldlink_code, c.bill_code), air_date, air_date,
    CASE strftime('%w', air_date)
        WHEN '0' THEN 'sunday' WHEN '1' THEN 'monday' WHEN '2' THEN 'tuesday' WHEN '3' THEN 'wednesday'
        WHEN '4' THEN 'thursday' WHEN '5' THEN 'friday' ELSE 'saturday'
    END,
    w.time_in, w.time_out, iif(n % 10 < 7, '00:00:30', '00:00:15'), 'Spot ' || (n % 997),
    iif(n % 2, printf('%d:%02d:%02d PM', 1 + n % 11, n % 60, n % 59), NULL), l.language_code,
    'Evening News', 1, 1 + n % 40, k.spot_type, 'E-' || (20000 + n % 1500),
    g.amount, g.amount, :month, iif(g.amount IS NULL, NULL, 0), g.amount * iif(n % 100 < 58, 0.85, 1),
    iif(worldlink, 'House', c.sales_person), k.revenue_type, iif(n % 5, 'Broadcast', 'Calendar'),
    iif(worldlink OR c.agency_id IS NOT NULL, 'Agency', 'Non-agency'), iif(n % 10 < 7, 'N', 'Y'), 41000 + n % 3000,
    m.market_name, iif(worldlink, c.worldlink_customer_id, c.customer_id),
    iif(worldlink, c.worldlink_agency_id, c.agency_id), m.market_id,
    l.language_id, :loaded, 'history:Data', 1, :closed,
    '{BATCH}',
    CASE
        WHEN l.language_code = 'L' THEN 'review_category'
        WHEN k.spot_type IN ('COM', 'BB')
            THEN iif(l.language_code IS NULL, 'default_english', 'language_assignment_required')
        WHEN k.revenue_type = 'Internal Ad Sales' AND k.spot_type = 'BNS' THEN 'language_assignment_required'
        WHEN k.revenue_type IN ('Direct Response Sales', 'Paid Programming', 'Branded Content') THEN 'default_english'
        WHEN k.revenue_type = 'Other' THEN 'default_english'
        ELSE 'review_category'
    END,
    printf('%016x%016x%016x%016x', n * 2654435761 % 4294967291, n * 40503 % 2147483647, :seed, n)
FROM (
    SELECT
        drawn.*,
        k.revenue_type IS '{DIRECT_RESPONSE}' AS worldlink,
        k.revenue_type, k.spot_type
    FROM drawn
    INNER JOIN history_choices AS k ON k.slot = kind_slot
) AS k
INNER JOIN history_choices AS c ON c.slot = code_slot
INNER JOIN history_choices AS m ON m.slot = market_slot
INNER JOIN history_choices AS l ON l.slot = language_slot
INNER JOIN history_choices AS w ON w.slot = (n * 31 + 5) % {SLOTS}
INNER JOIN (
    SELECT slot, gross AS amount FROM history_choices
) AS g ON g.slot = gross_slot
"""
