-- Grain: one row per broadcast month that has spots, with its closing if it is closed.
-- Reads: spots, month_closures. Writes: nothing. Params: none. Re-run: safe.
-- Steps from month to month through the index: the cost is one seek per month, however many spots it has.
WITH RECURSIVE months (broadcast_month) AS (
    SELECT min(broadcast_month) FROM spots
    UNION ALL
    SELECT (SELECT min(s.broadcast_month) FROM spots AS s WHERE s.broadcast_month > months.broadcast_month)
    FROM months
    WHERE months.broadcast_month IS NOT NULL
)
SELECT months.broadcast_month, c.closed_date
FROM months
LEFT JOIN month_closures AS c ON c.broadcast_month = months.broadcast_month
WHERE months.broadcast_month IS NOT NULL
