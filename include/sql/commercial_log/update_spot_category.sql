-- Grain: the spots of the months without a category; with :all every non-Trade one that no person decided on.
-- Reads: spot_language_assignments.
-- Writes: spots.spot_category. Params: :months (JSON array), :all (0 or 1). Re-run: safe.
-- First match wins and the order matters: Direct Response COM in language V is decided by its language, a Paid
-- Programming PRG in J by its revenue type.
UPDATE spots
SET
    spot_category = (
        SELECT
            CASE
                WHEN d.language = 'L' THEN 'review_category'
                WHEN d.type IN ('COM', 'BB') AND d.language <> '' THEN 'language_assignment_required'
                WHEN d.type IN ('COM', 'BB') THEN 'default_english'
                WHEN d.revenue = 'internal ad sales' AND d.type IN ('COM', 'BNS') THEN 'language_assignment_required'
                WHEN d.revenue = 'local' THEN 'language_assignment_required'
                WHEN d.revenue = 'internal ad sales' AND d.type IN ('PKG', 'CRD', 'AV') THEN 'review_category'
                WHEN d.revenue = 'other' AND d.type IN ('COM', 'BNS', '') THEN 'review_category'
                WHEN
                    d.revenue IN (
                        'direct response sales', 'direct response', 'paid programming', 'branded content'
                    )
                    THEN 'default_english'
                WHEN d.revenue = 'other' AND d.type IN ('SVC', 'PRD') THEN 'default_english'
                ELSE 'review_category'
            END
        FROM (
            SELECT
                upper(trim(coalesce(spots.language_code, ''))) AS language,
                coalesce(spots.spot_type, '') AS type,
                lower(trim(coalesce(spots.revenue_type, ''))) AS revenue
        ) AS d
    )
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND (
        spot_category IS NULL
        OR (
            :all = 1
            AND coalesce(lower(trim(revenue_type)), '') <> 'trade'
            AND NOT EXISTS (
                SELECT 1
                FROM spot_language_assignments AS a
                WHERE a.spot_id = spots.spot_id AND a.assignment_method = 'manual_override'
            )
        )
    )
