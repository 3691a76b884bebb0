-- Creates the views readers use. Every revenue view repeats the Trade exclusion.
-- Reads: nothing. Writes: schema only. Params: none. Re-run: safe.

-- Grain: one row per spot. CHI and MSP keep their code and show the name they are reported under, that of CMP.
CREATE VIEW IF NOT EXISTS spots_reporting AS
SELECT
    s.spot_id,
    s.bill_code,
    s.air_date,
    s.gross_rate,
    s.station_net,
    s.sales_person,
    s.revenue_type,
    s.broadcast_month,
    s.is_historical,
    s.import_batch_id,
    c.normalized_name AS customer_name,
    sec.sector_code,
    sec.sector_name,
    a.agency_name,
    m.market_code,
    coalesce(reported.market_name, m.market_name) AS market_display_name,
    m.region,
    l.language_code,
    l.language_name,
    b.import_mode,
    b.import_date,
    b.started_by,
    mc.closed_date,
    mc.closed_by
FROM spots AS s
LEFT JOIN customers AS c ON c.customer_id = s.customer_id
LEFT JOIN sectors AS sec ON sec.sector_id = c.sector_id
LEFT JOIN agencies AS a ON a.agency_id = s.agency_id
LEFT JOIN markets AS m ON m.market_id = s.market_id
LEFT JOIN markets AS reported ON m.market_code IN ('CHI', 'MSP') AND reported.market_code = 'CMP'
LEFT JOIN languages AS l ON l.language_id = s.language_id
LEFT JOIN import_batches AS b ON b.batch_id = s.import_batch_id
LEFT JOIN month_closures AS mc ON mc.broadcast_month = s.broadcast_month
WHERE s.revenue_type <> 'Trade' OR s.revenue_type IS NULL;

-- Grain: one row per broadcast month that has spots or is closed, in calendar order (the text would sort wrongly).
CREATE VIEW IF NOT EXISTS v_month_status AS
WITH totals AS (
    SELECT
        broadcast_month,
        count(*) AS spots,
        total(gross_rate) AS gross_sum,
        total(station_net) AS net_sum,
        count(DISTINCT customer_id) AS customers,
        max(load_date) AS last_load
    FROM spots
    WHERE revenue_type <> 'Trade' OR revenue_type IS NULL
    GROUP BY broadcast_month
),

months AS (
    SELECT broadcast_month FROM totals
    UNION
    SELECT broadcast_month FROM month_closures
)

SELECT
    months.broadcast_month,
    printf(
        '20%s-%02d-01',
        substr(months.broadcast_month, 5),
        (instr('JanFebMarAprMayJunJulAugSepOctNovDec', substr(months.broadcast_month, 1, 3)) + 2) / 3
    ) AS month_start_date,
    coalesce(totals.spots, 0) AS spots,
    coalesce(totals.gross_sum, 0.0) AS gross_sum,
    coalesce(totals.net_sum, 0.0) AS net_sum,
    coalesce(totals.customers, 0) AS customers,
    iif(mc.broadcast_month IS NULL, 'open', 'closed') AS status,
    mc.closed_date,
    mc.closed_by,
    totals.last_load
FROM months
LEFT JOIN totals ON totals.broadcast_month = months.broadcast_month
LEFT JOIN month_closures AS mc ON mc.broadcast_month = months.broadcast_month
ORDER BY month_start_date;

-- Grain: one row per category, method and status; a missing category or assignment shows as null and is counted.
CREATE VIEW IF NOT EXISTS v_language_status AS
SELECT
    s.spot_category,
    a.assignment_method,
    a.language_status,
    count(*) AS spots,
    total(s.gross_rate) AS gross_sum,
    count(*) FILTER (WHERE a.requires_review = 1) AS requires_review,
    count(*) FILTER (WHERE s.spot_category IS NULL) AS uncategorised,
    count(*) FILTER (WHERE a.spot_id IS NULL) AS unassigned
FROM spots AS s
LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
WHERE s.revenue_type <> 'Trade' OR s.revenue_type IS NULL
GROUP BY s.spot_category, a.assignment_method, a.language_status
ORDER BY s.spot_category, a.assignment_method, a.language_status;

-- Grain: one row per spot somebody has to look at, dearest first.
CREATE VIEW IF NOT EXISTS v_review_queue AS
SELECT
    s.spot_id,
    s.bill_code,
    s.broadcast_month,
    s.revenue_type,
    s.spot_type,
    s.language_code AS raw_language,
    a.language_code AS assigned_language,
    a.assignment_method,
    s.gross_rate,
    a.notes
FROM spot_language_assignments AS a
INNER JOIN spots AS s ON s.spot_id = a.spot_id
WHERE a.requires_review = 1
    AND (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
ORDER BY s.gross_rate DESC NULLS LAST, s.spot_id;

-- Grain: one row per bill code without a customer, dearest first.
CREATE VIEW IF NOT EXISTS v_unresolved_bill_codes AS
SELECT
    bill_code,
    count(*) AS spots,
    total(gross_rate) AS gross_sum
FROM spots
WHERE customer_id IS NULL
    AND (revenue_type <> 'Trade' OR revenue_type IS NULL)
GROUP BY bill_code
ORDER BY gross_sum DESC, bill_code;

-- Grain: one row per logged collision, newest first.
CREATE VIEW IF NOT EXISTS v_schedule_collisions AS
SELECT
    log.collision_id,
    log.collision_type,
    log.severity,
    m.market_code,
    m.market_name,
    earlier.schedule_name AS schedule_name_1,
    later.schedule_name AS schedule_name_2,
    log.conflict_start_date,
    log.conflict_end_date,
    log.description,
    log.resolution_status,
    log.detected_date
FROM schedule_collision_log AS log
LEFT JOIN markets AS m ON m.market_id = log.market_id
LEFT JOIN programming_schedules AS earlier ON earlier.schedule_id = log.schedule_id_1
LEFT JOIN programming_schedules AS later ON later.schedule_id = log.schedule_id_2
ORDER BY log.detected_date DESC, log.collision_id DESC;

-- Grain: one row per broadcast month and report category. Every spot that carries money or is a bonus falls into
-- exactly one category, the first that fits, so the categories of a month add up to the month. Campaign types come
-- from the optional programme-grid classification; without it those spots are `Other`.
CREATE VIEW IF NOT EXISTS v_revenue_by_category AS
WITH base AS (
    SELECT
        s.broadcast_month,
        s.spot_type,
        s.gross_rate,
        s.station_net,
        CASE
            WHEN s.bill_code LIKE '%worldlink%' OR a.agency_name LIKE '%worldlink%' THEN 1
            WHEN lower(trim(s.revenue_type)) = 'paid programming' THEN 2
            WHEN s.spot_type = 'PRD' THEN 3
            WHEN s.spot_type = 'SVC' THEN 4
            WHEN g.campaign_type = 'language_specific' THEN 5
            WHEN g.campaign_type = 'ros' THEN 6
            WHEN g.campaign_type = 'multi_language' THEN 7
            ELSE 8
        END AS precedence
    FROM spots AS s
    LEFT JOIN agencies AS a ON a.agency_id = s.agency_id
    LEFT JOIN spot_language_blocks AS g ON g.spot_id = s.spot_id
    WHERE (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
        AND (s.gross_rate IS NOT NULL OR s.station_net IS NOT NULL OR s.spot_type = 'BNS')
),

totals AS (
    SELECT
        broadcast_month,
        precedence,
        count(*) AS spots,
        count(*) FILTER (WHERE spot_type IS NOT 'BNS') AS paid_spots,
        total(gross_rate) AS gross_sum,
        total(station_net) AS net_sum
    FROM base
    GROUP BY broadcast_month, precedence
),

categories (precedence, category) AS (
    VALUES
        (1, 'Direct Response'),
        (2, 'Paid Programming'),
        (3, 'Branded Content'),
        (4, 'Services'),
        (5, 'Individual Language Blocks'),
        (6, 'ROS'),
        (7, 'Multi-Language'),
        (8, 'Other')
)

SELECT
    totals.broadcast_month,
    categories.category,
    totals.spots,
    totals.paid_spots,
    totals.gross_sum,
    totals.net_sum
FROM totals
INNER JOIN categories ON categories.precedence = totals.precedence
ORDER BY
    substr(totals.broadcast_month, 5),
    instr('JanFebMarAprMayJunJulAugSepOctNovDec', substr(totals.broadcast_month, 1, 3)),
    totals.precedence;
