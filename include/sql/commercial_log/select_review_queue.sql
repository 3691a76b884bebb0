-- Grain: one row per spot of the review queue that :filter lets through, in columns and order of v_review_queue.
-- The filter `fallback` lists the spots that count as English for want of a code, which nobody has to review.
-- Reads: spot_language_assignments, spots. Writes: nothing.
-- Params: :filter (all, business, undetermined, invalid, high_value, low_confidence, fallback). Re-run: read only.
WITH wanted AS (
    SELECT spot_id, assignment_method, language_status, confidence
    FROM spot_language_assignments
    WHERE requires_review = 1 AND :filter <> 'fallback'
    UNION ALL
    SELECT spot_id, assignment_method, language_status, confidence
    FROM spot_language_assignments
    WHERE :filter = 'fallback' AND assignment_method IN ('default_english', 'business_rule_default_english')
)

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
FROM wanted AS w
INNER JOIN spots AS s ON s.spot_id = w.spot_id
INNER JOIN spot_language_assignments AS a ON a.spot_id = w.spot_id
WHERE (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
    AND CASE :filter
        WHEN 'business' THEN w.assignment_method = 'business_review_required'
        WHEN 'undetermined' THEN w.language_status = 'undetermined'
        WHEN 'invalid' THEN w.language_status = 'invalid'
        WHEN 'high_value' THEN s.gross_rate > 500
        WHEN 'low_confidence' THEN w.confidence < 0.5
        ELSE 1
    END
ORDER BY s.gross_rate DESC NULLS LAST, s.spot_id
