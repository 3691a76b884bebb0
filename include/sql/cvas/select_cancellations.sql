-- sqlfluff:dialect:postgres
-- Grain: one row per cancellation asked for on one day. Reads, in the source's PostgreSQL: delaydcttlog_v1_0_0_fact.
-- Params: first and next, the source's local time, first <= timestamp < next. Writes: nothing. Re-run: read only.
-- The order is total, so that equal rows make equal files. Nothing is qualified: a missing d.mode would be taken for
-- the function mode(d).
SELECT
    timestamp AS cancel_date,
    sbn_id,
    msisdn AS tmuserid,
    cpc,
    mode
FROM delaydcttlog_v1_0_0_fact
WHERE timestamp >= %(first)s AND timestamp < %(next)s  -- noqa: PRS
ORDER BY timestamp, sbn_id, msisdn, cpc, mode
