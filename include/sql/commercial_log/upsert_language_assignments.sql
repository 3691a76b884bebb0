-- Grain: one row per categorised spot of the months that has no assignment; with :all every one that no person decided.
-- Reads: spots, languages. Writes: spot_language_assignments. Params: :months (JSON array), :all, :now (UTC).
-- Re-run: safe; a decision of a person (manual_override) is never changed.
WITH english (code) AS (
    SELECT
        upper(
            coalesce(
                (SELECT language_code FROM languages WHERE language_name = 'English'),
                (SELECT min(language_code) FROM languages WHERE upper(language_code) IN ('EN', 'ENG')),
                'EN'
            )
        )
),

known (code) AS (
    SELECT upper(language_code) FROM languages
),

candidates AS (
    SELECT
        s.spot_id,
        s.spot_category AS category,
        trim(coalesce(s.language_code, '')) AS raw,
        CASE
            WHEN upper(trim(coalesce(s.language_code, ''))) IN ('EN', 'ENG') THEN (SELECT code FROM english)
            ELSE upper(trim(coalesce(s.language_code, '')))
        END AS language
    FROM spots AS s
    LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
    WHERE
        s.broadcast_month IN (SELECT value FROM json_each(:months))
        AND s.spot_category IS NOT NULL
        AND (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
        AND (a.spot_id IS NULL OR (:all = 1 AND a.assignment_method <> 'manual_override'))
),

decided AS (
    SELECT
        c.spot_id,
        c.raw,
        c.language,
        CASE
            WHEN c.category = 'default_english' THEN 'business_rule_default_english'
            WHEN c.language = 'L' THEN 'undetermined_flagged'
            WHEN c.language <> '' AND c.language NOT IN (SELECT code FROM known) THEN 'invalid_code_flagged'
            WHEN c.category = 'review_category' THEN 'business_review_required'
            WHEN c.language = '' THEN 'default_english'
            ELSE 'direct_mapping'
        END AS method
    FROM candidates AS c
)

INSERT INTO spot_language_assignments (
    spot_id, language_code, language_status, confidence, assignment_method, assigned_date, requires_review
)
SELECT
    spot_id,
    CASE
        WHEN method = 'business_rule_default_english' OR language = '' THEN (SELECT code FROM english)
        WHEN method = 'invalid_code_flagged' THEN raw
        ELSE language
    END,
    CASE method
        WHEN 'business_rule_default_english' THEN 'determined'
        WHEN 'direct_mapping' THEN 'determined'
        WHEN 'invalid_code_flagged' THEN 'invalid'
        WHEN 'undetermined_flagged' THEN 'undetermined'
        ELSE 'default'
    END,
    CASE
        WHEN method IN ('business_rule_default_english', 'direct_mapping') THEN 1.0
        WHEN method IN ('default_english', 'business_review_required') THEN 0.5
        ELSE 0.0
    END,
    method,
    :now,
    method IN ('invalid_code_flagged', 'undetermined_flagged', 'business_review_required')
FROM decided
WHERE TRUE
ON CONFLICT (spot_id) DO UPDATE SET
language_code = excluded.language_code,
language_status = excluded.language_status,
confidence = excluded.confidence,
assignment_method = excluded.assignment_method,
assigned_date = excluded.assigned_date,
requires_review = excluded.requires_review,
notes = NULL
WHERE
    (language_code, language_status, confidence, assignment_method, requires_review)
    IS NOT (
        excluded.language_code, excluded.language_status, excluded.confidence,
        excluded.assignment_method, excluded.requires_review
    )
