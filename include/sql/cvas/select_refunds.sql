-- sqlfluff:dialect:postgres
-- Grain: one row per subscription, user, price point, day and kind (automatic or not) of the refunds of one day.
-- Reads, in the source's PostgreSQL: refund_v1_0_0_fact. Writes: nothing. Re-run: read only.
-- Params: first and next, the source's local time, first <= timestamp < next.
-- The subscription is what follows the first `sbnId=` in info up to the next `,`, or '' if there is none. A refund
-- without info belongs to no subscription and no kind and is summed, but not counted.
SELECT
    r.msisdn AS tmuserid,
    r.cpc,
    r.refnd_date,
    sum(r.amount) AS rfnd_amount,
    count(r.info) AS rfnd_cnt,
    r.sbnid,
    r.instant_rfnd
FROM (
    SELECT
        msisdn,
        cpc,
        timestamp::date AS refnd_date,
        amount,
        info,
        split_part(right(info, -length(split_part(info, 'sbnId=', 1) || 'sbnId=')), ',', 1) AS sbnid,
        info ~* 'Automatic Refund' AS instant_rfnd
    FROM refund_v1_0_0_fact
    WHERE timestamp >= %(first)s AND timestamp < %(next)s  -- noqa: PRS
) AS r
GROUP BY r.msisdn, r.cpc, r.refnd_date, r.sbnid, r.instant_rfnd
ORDER BY r.refnd_date, r.sbnid, r.msisdn, r.cpc, r.instant_rfnd
