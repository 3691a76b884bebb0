-- Inserts the spots of one closed month.
-- Grain: one spot. Reads: temp history_choices (:slots rows; a column is a distribution, see history.py).
-- Writes: spots. Params: first, count, seed, slots, month, month_start, days, loaded, batch.
-- Re-run: not safe, inserts the same spots again.
WITH RECURSIVE numbers (n) AS (
    SELECT :first
    UNION ALL
    SELECT n + 1 FROM numbers WHERE n < :first + :count - 1
),

-- Products with different primes, so that the attributes of a spot are independent of each other.
drawn AS (
    SELECT
        n,
        date(:month_start, '+' || (n * 7919 % 2147483647 % :days) || ' days') AS air_date,
        (n + :seed) * 1588635695 % 2147483647 % :slots AS kind_slot,
        (n + :seed) * 1117695901 % 2147483629 % :slots AS code_slot,
        (n + :seed) * 950706376 % 2147483587 % :slots AS market_slot,
        (n + :seed) * 742938285 % 2147483579 % :slots AS language_slot,
        (n + :seed) * 630360016 % 2147483563 % :slots AS window_slot,
        (n + :seed) * 397204094 % 2147483549 % :slots AS gross_slot
    FROM numbers
),

spot AS (
    SELECT
        d.n,
        d.air_date,
        k.revenue_type,
        k.spot_type,
        k.revenue_type IS 'Direct Response Sales' AS is_worldlink,
        d.code_slot,
        d.market_slot,
        d.window_slot,
        iif(k.revenue_type IS 'Direct Response Sales', NULL, l.language_code) AS language_code,
        iif(k.spot_type = 'BNS', NULL, g.gross) AS gross
    FROM drawn AS d
    INNER JOIN history_choices AS k ON k.slot = d.kind_slot
    INNER JOIN history_choices AS l ON l.slot = d.language_slot
    INNER JOIN history_choices AS g ON g.slot = d.gross_slot
)

INSERT INTO spots (
    bill_code, air_date, end_date, day_of_week, time_in, time_out, length_seconds, media, comments, language_code,
    format, sequence_number, line_number, spot_type, estimate, gross_rate, spot_value, broadcast_month, broker_fees,
    station_net, sales_person, revenue_type, billing_type, agency_flag, affidavit_flag, contract, market_name,
    customer_id, agency_id, market_id, language_id, load_date, source_file, is_historical, effective_date,
    import_batch_id, spot_category, row_hash
)
SELECT
    iif(s.is_worldlink, c.worldlink_code, c.bill_code),
    s.air_date,
    s.air_date,
    CASE strftime('%w', s.air_date)
        WHEN '0' THEN 'sunday' WHEN '1' THEN 'monday' WHEN '2' THEN 'tuesday' WHEN '3' THEN 'wednesday'
        WHEN '4' THEN 'thursday' WHEN '5' THEN 'friday' ELSE 'saturday'
    END,
    w.time_in,
    w.time_out,
    iif(s.n % 10 < 7, '00:00:30', '00:00:15'),
    'Spot ' || (s.n % 997),
    iif(s.n % 2, printf('%d:%02d:%02d PM', 1 + s.n % 11, s.n % 60, s.n % 59), NULL),
    s.language_code,
    'Evening News',
    1,
    1 + s.n % 40,
    s.spot_type,
    'E-' || (20000 + s.n % 1500),
    s.gross,
    s.gross,
    :month,
    iif(s.gross IS NULL, NULL, 0),
    s.gross * iif(s.n % 100 < 58, 0.85, 1),
    iif(s.is_worldlink, c.worldlink_seller, c.sales_person),
    s.revenue_type,
    iif(s.n % 5, 'Broadcast', 'Calendar'),
    iif(s.is_worldlink OR c.agency_billed, 'Agency', 'Non-agency'),
    iif(s.n % 10 < 7, 'N', 'Y'),
    CAST(41000 + s.n % 3000 AS TEXT),
    m.market_code,
    iif(s.is_worldlink, c.worldlink_customer_id, c.customer_id),
    iif(s.is_worldlink, c.worldlink_agency_id, c.agency_id),
    p.market_id,
    v.language_id,
    :loaded || ' 09:30:00',
    'history.xlsx:Data',
    1,
    :loaded,
    :batch,
    CASE
        WHEN s.language_code = 'L' THEN 'review_category'
        WHEN s.spot_type IN ('COM', 'BB')
            THEN iif(s.language_code IS NULL, 'default_english', 'language_assignment_required')
        WHEN s.revenue_type = 'Internal Ad Sales' AND s.spot_type = 'BNS' THEN 'language_assignment_required'
        WHEN s.revenue_type IN ('Direct Response Sales', 'Paid Programming', 'Branded Content') THEN 'default_english'
        WHEN s.revenue_type = 'Other' AND s.spot_type = 'SVC' THEN 'default_english'
        ELSE 'review_category'
    END,
    printf('%016x%016x%016x%016x', s.n * 2654435761 % 4294967291, s.n * 40503 % 2147483647, :seed, s.n)
FROM spot AS s
INNER JOIN history_choices AS c ON c.slot = s.code_slot
INNER JOIN history_choices AS m ON m.slot = s.market_slot
INNER JOIN history_choices AS w ON w.slot = s.window_slot
LEFT JOIN markets AS p ON p.market_code = m.market_code
LEFT JOIN languages AS v ON v.language_code = s.language_code
