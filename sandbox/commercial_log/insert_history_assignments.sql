-- Inserts the language assignment of every spot of one batch.
-- Grain: one spot. Reads: spots, languages. Writes: spot_language_assignments. Params: batch.
-- Re-run: fails, a spot has one assignment.
WITH assigned AS (
    SELECT
        s.spot_id,
        s.load_date,
        CASE
            WHEN s.spot_category = 'default_english' THEN 'business_rule_default_english'
            WHEN s.language_code = 'L' THEN 'undetermined_flagged'
            WHEN s.language_code IS NOT NULL AND l.language_id IS NULL THEN 'invalid_code_flagged'
            WHEN s.spot_category = 'review_category' THEN 'business_review_required'
            WHEN s.language_code IS NULL THEN 'default_english'
            ELSE 'direct_mapping'
        END AS assignment_method,
        upper(coalesce(s.language_code, 'E')) AS language_code
    FROM spots AS s
    LEFT JOIN languages AS l ON l.language_code = s.language_code
    WHERE s.import_batch_id = :batch
)

INSERT INTO spot_language_assignments (
    spot_id, language_code, language_status, confidence, assignment_method, assigned_date, requires_review
)
SELECT
    spot_id,
    iif(assignment_method = 'business_rule_default_english', 'E', language_code),
    CASE assignment_method
        WHEN 'undetermined_flagged' THEN 'undetermined'
        WHEN 'invalid_code_flagged' THEN 'invalid'
        WHEN 'default_english' THEN 'default'
        WHEN 'business_review_required' THEN 'default'
        ELSE 'determined'
    END,
    CASE
        WHEN assignment_method IN ('direct_mapping', 'business_rule_default_english') THEN 1.0
        WHEN assignment_method IN ('default_english', 'business_review_required') THEN 0.5
        ELSE 0.0
    END,
    assignment_method,
    load_date,
    assignment_method IN ('undetermined_flagged', 'invalid_code_flagged', 'business_review_required')
FROM assigned
ORDER BY spot_id
