-- How long summing the activations' revenue by month takes (R61).
-- Grain: one row per month, the last five. Reads: act. Writes: nothing. Params: none. Re-run: read only.
SELECT
    strftime(trans_date, '%Y-%m') AS month,
    sum(rev) AS revenue
FROM act
GROUP BY month
ORDER BY month DESC
LIMIT 5
