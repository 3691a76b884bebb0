-- Subscriptions by the month of their last refund, with all their refunds (R62); amounts in euro.
-- Grain: one row per month. Reads: subscriptions (the view). Writes: nothing.
-- Params: $first_month (YYYY-MM). Re-run: read only.
SELECT
    strftime(last_refund_date, '%Y-%m') AS month,
    count(*) AS subscriptions,
    sum(refund_count)::BIGINT AS refund_rows,
    sum(refund_events)::BIGINT AS refunds,
    round(sum(total_refunded), 2) AS amount
FROM subscriptions
WHERE month >= $first_month
GROUP BY month
ORDER BY month
