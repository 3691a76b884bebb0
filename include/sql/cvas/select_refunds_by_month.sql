-- Refunds per month and price point (section 7, B22).
-- Grain: one row per (refund_month, cpc), in this order; undated refunds have no month, nameless ones no cpc, both
-- come last.
-- Reads: rfnd. Writes: nothing. Params: none. Re-run: read only.
SELECT
    strftime(refnd_date, '%Y-%m') AS refund_month,
    cpc,
    round(sum(rfnd_amount::DECIMAL(18, 6)), 2)::DOUBLE AS rfnd_amount,
    sum(rfnd_cnt)::BIGINT AS rfnd_count,
    count(DISTINCT tmuserid) AS distinct_users,
    count(DISTINCT tmuserid) FILTER (WHERE instant_rfnd = 'f') AS users_regular,
    count(DISTINCT tmuserid) FILTER (WHERE instant_rfnd = 't') AS users_automatic
FROM rfnd
GROUP BY refund_month, cpc
ORDER BY refund_month NULLS LAST, cpc NULLS LAST
