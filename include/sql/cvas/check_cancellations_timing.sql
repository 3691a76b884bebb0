-- How long counting the cancellations by month takes (R61).
-- Grain: one row per month, the last five. Reads: cnr. Writes: nothing. Params: none. Re-run: read only.
SELECT
    strftime(cancel_date, '%Y-%m') AS month,
    count(*) AS cancellations
FROM cnr
GROUP BY month
ORDER BY month DESC
LIMIT 5
