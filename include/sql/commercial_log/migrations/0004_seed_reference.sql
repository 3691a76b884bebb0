-- Seeds the reference data: languages, sectors, markets and their aliases, schedules, assignments, programme grid.
-- Reads: nothing outside its own rows. Writes: reference tables. Params: none.
-- Re-run: safe; a row that exists under the same key is left as people have edited it.

INSERT INTO languages (language_id, language_code, language_name, language_group)
VALUES
    (1, 'E', 'English', 'English'),
    (2, 'M', 'Mandarin', 'Chinese'),
    (3, 'C', 'Cantonese', 'Chinese'),
    (4, 'T', 'Tagalog', 'Filipino'),
    (5, 'Hm', 'Hmong', 'Hmong'),
    (6, 'SA', 'South Asian', 'South Asian'),
    (7, 'V', 'Vietnamese', 'Vietnamese'),
    (8, 'K', 'Korean', 'Korean'),
    (9, 'J', 'Japanese', 'Japanese'),
    (10, 'M/C', 'Mandarin/Cantonese', 'Chinese'),
    (11, 'P', 'Punjabi', 'South Asian')
ON CONFLICT DO NOTHING;

INSERT INTO sectors (sector_id, sector_code, sector_name, sector_group)
VALUES
    (1, 'AUTO', 'Automotive', 'Commercial'),
    (2, 'CPG', 'Consumer Packaged Goods', 'Commercial'),
    (3, 'INS', 'Insurance', 'Financial'),
    (4, 'OUTR', 'General Outreach', 'Outreach'),
    (5, 'TECH', 'Technology', 'Commercial'),
    (6, 'FIN', 'Financial Services', 'Financial'),
    (7, 'HEALTH', 'Healthcare', 'Healthcare'),
    (8, 'RETAIL', 'Retail', 'Commercial'),
    (9, 'TELCO', 'Telecommunications', 'Commercial'),
    (10, 'MEDIA', 'Media & Entertainment', 'Commercial'),
    (11, 'GOV', 'Government', 'Outreach'),
    (12, 'EDU', 'Education', 'Outreach'),
    (13, 'NPO', 'Non-Profit', 'Outreach'),
    (14, 'OTHER', 'Other', 'Other'),
    (15, 'CASINO', 'Casino', 'Commercial'),
    (16, 'POLITICAL', 'Political', 'Political'),
    (17, 'RESTAURANT', 'Restaurant', 'Commercial'),
    (18, 'POLITICAL-OUTREACH', 'Political Outreach', 'Outreach'),
    (20, 'TRAVEL', 'Travel', 'Commercial'),
    (21, 'UTILITY', 'Utility', 'Other')
ON CONFLICT DO NOTHING;

INSERT INTO markets (market_id, market_code, market_name, region)
VALUES
    (1, 'NYC', 'NEW YORK', 'Northeast'),
    (2, 'CVC', 'Central Valley', 'West'),
    (3, 'SFO', 'SAN FRANCISCO', 'West'),
    (4, 'CMP', 'CHI MSP', 'Midwest'),
    (5, 'HOU', 'HOUSTON', 'South'),
    (6, 'LAX', 'LOS ANGELES', 'West'),
    (7, 'SEA', 'SEATTLE', 'West'),
    (8, 'DAL', 'DALLAS', 'South')
ON CONFLICT DO NOTHING;

-- Aliases match whatever the case: `Los Angeles` and `LOS ANGELES` are one alias.
INSERT INTO market_aliases (alias, market_code)
VALUES
    ('New York', 'NYC'),
    ('Central Valley', 'CVC'),
    ('San Francisco', 'SFO'),
    ('CHI MSP', 'CMP'),
    ('Houston', 'HOU'),
    ('Los Angeles', 'LAX'),
    ('Seattle', 'SEA'),
    ('Dallas', 'DAL'),
    ('Chicago', 'CHI'),
    ('Minneapolis', 'MSP'),
    ('Washington DC', 'WDC'),
    ('Mammoth', 'MMT'),
    ('Admin', 'ADMIN'),
    ('Administrative', 'ADMIN')
ON CONFLICT DO NOTHING;

INSERT INTO programming_schedules (
    schedule_id, schedule_name, schedule_version, schedule_type, effective_start_date, created_by
)
VALUES
    (1, 'Standard Grid', '2025-v1.0', 'standard', '2025-01-01', 'system'),
    (2, 'Dallas Grid', '2025-v1.0', 'market_specific', '2025-01-01', 'system')
ON CONFLICT DO NOTHING;

WITH grid_of_market (market_code, schedule_id) AS (
    VALUES ('NYC', 1), ('SFO', 1), ('CVC', 1), ('HOU', 1), ('LAX', 1), ('SEA', 1), ('CMP', 1), ('DAL', 2)
)

INSERT INTO schedule_market_assignments (schedule_id, market_id, effective_start_date)
SELECT g.schedule_id, m.market_id, '2025-01-01'
FROM grid_of_market AS g
INNER JOIN markets AS m ON m.market_code = g.market_code
WHERE true
ORDER BY m.market_id
ON CONFLICT DO NOTHING;

WITH days (position, day_of_week, kind) AS (
    VALUES
        (1, 'monday', 'weekdays'),
        (2, 'tuesday', 'weekdays'),
        (3, 'wednesday', 'weekdays'),
        (4, 'thursday', 'weekdays'),
        (5, 'friday', 'weekdays'),
        (6, 'saturday', 'saturday'),
        (7, 'sunday', 'sunday')
),

grid (schedule_id, kinds, starts, ends, language_code, block_name, block_type, day_part) AS (
    VALUES
        (1, 'weekdays saturday sunday', '00:00', '06:00', 'E', 'English Shopping Block', 'Shopping', 'Overnight'),
        (1, 'sunday', '06:00', '06:30', 'E', 'English Religious Programming', 'Religious', 'Early Morning'),
        (1, 'sunday', '06:00', '08:00', 'M', 'Mandarin Weekend Morning', 'News', 'Morning'),
        (1, 'sunday', '06:30', '08:00', 'M', 'Mandarin Morning Block', 'General', 'Early Morning'),
        (1, 'weekdays', '06:00', '08:00', 'M', 'Mandarin Morning Block', 'News', 'Early Morning'),
        (1, 'weekdays saturday sunday', '08:00', '10:00', 'K', 'Korean Morning Block', 'News', 'Morning'),
        (1, 'weekdays saturday sunday', '10:00', '11:00', 'J', 'Japanese Morning Block', 'General', 'Morning'),
        (1, 'weekdays saturday sunday', '11:00', '13:00', 'V', 'Vietnamese Midday Block', 'General', 'Midday'),
        (1, 'weekdays saturday sunday', '13:00', '16:00', 'SA', 'South Asian Afternoon Block', 'General', 'Afternoon'),
        (1, 'weekdays saturday sunday', '16:00', '18:00', 'T', 'Filipino Afternoon Block', 'General', 'Afternoon'),
        (1, 'weekdays', '18:00', '19:00', 'T', 'Filipino Extended Block', 'General', 'Early Evening'),
        (1, 'weekdays', '19:00', '20:00', 'C', 'Cantonese Evening Block', 'General', 'Early Evening'),
        (1, 'saturday sunday', '18:00', '20:00', 'Hm', 'The Hmong Entertainment Hour', 'General', 'Early Evening'),
        (1, 'weekdays saturday sunday', '20:00', '23:30', 'M', 'Mandarin Prime Block', 'Prime', 'Prime'),
        (1, 'weekdays saturday sunday', '23:30', '24:00', 'C', 'Cantonese Late Night Block', 'General', 'Late Night'),
        (2, 'weekdays saturday sunday', '00:00', '01:00', 'M', 'Mandarin Late Night Block', 'General', 'Late Night'),
        (2, 'weekdays saturday sunday', '01:00', '02:00', 'C', 'Cantonese Late Night Block', 'General', 'Late Night'),
        (2, 'weekdays saturday sunday', '02:00', '03:00', 'M', 'Primetime News Late', 'News', 'Overnight'),
        (2, 'weekdays saturday sunday', '03:00', '04:00', 'M', 'Mandarin Overnight Block 1', 'General', 'Overnight'),
        (2, 'weekdays saturday sunday', '04:00', '05:00', 'M', 'Mandarin Overnight Block 2', 'General', 'Overnight'),
        (2, 'weekdays saturday sunday', '05:00', '06:00', 'M', 'Mandarin Overnight Block 3', 'General', 'Overnight'),
        (2, 'weekdays saturday sunday', '06:00', '07:00', 'M', 'Phoenix Evening Express', 'News', 'Early Morning'),
        (2, 'weekdays saturday sunday', '07:00', '08:00', 'M', 'The Starry Love', 'Drama', 'Early Morning'),
        (2, 'weekdays saturday sunday', '08:00', '09:00', 'M', 'Mandarin Morning Variety', 'Variety', 'Morning'),
        (2, 'weekdays saturday sunday', '09:00', '10:00', 'M', 'Mandarin Morning Block', 'General', 'Morning'),
        (2, 'weekdays saturday sunday', '11:00', '12:00', 'K', 'Korean Midday Block', 'General', 'Morning'),
        (2, 'weekdays saturday sunday', '12:00', '13:00', 'E', 'Marketplace', 'General', 'Midday'),
        (2, 'weekdays saturday sunday', '13:00', '14:00', 'M', 'Mandarin Afternoon Block', 'General', 'Afternoon'),
        (2, 'weekdays saturday sunday', '14:00', '15:00', 'M', 'Primetime News', 'News', 'Afternoon'),
        (2, 'weekdays saturday sunday', '15:00', '16:00', 'M', 'Mandarin Afternoon Block 2', 'General', 'Afternoon'),
        (2, 'weekdays saturday sunday', '16:00', '17:00', 'M', 'Mandarin Children Block', 'Children', 'Afternoon'),
        (2, 'weekdays saturday sunday', '17:00', '18:00', 'C', 'Cantonese Evening Block', 'General', 'Early Evening'),
        (2, 'saturday sunday', '18:00', '19:00', 'C', 'Cantonese News Block', 'News', 'Early Evening'),
        (2, 'saturday sunday', '19:00', '20:00', 'M', 'Phoenix Evening Express', 'News', 'Early Evening'),
        (2, 'weekdays saturday sunday', '20:00', '21:00', 'M', 'The Starry Love', 'Drama', 'Prime'),
        (2, 'weekdays saturday sunday', '21:00', '22:00', 'M', 'Mandarin Prime Block 1', 'Prime', 'Prime'),
        (2, 'weekdays saturday sunday', '22:00', '23:00', 'M', 'Mandarin Prime Block 2', 'Prime', 'Prime'),
        (2, 'weekdays saturday sunday', '23:00', '24:00', 'K', 'Korean Late Night Block', 'General', 'Late Night')
)

INSERT INTO language_blocks (
    schedule_id, day_of_week, time_start, time_end, language_id, block_name, block_type, day_part, display_order
)
SELECT
    grid.schedule_id,
    days.day_of_week,
    grid.starts || ':00',
    grid.ends || ':00',
    l.language_id,
    grid.block_name,
    grid.block_type,
    grid.day_part,
    row_number() OVER (PARTITION BY grid.schedule_id, days.day_of_week ORDER BY grid.starts, grid.ends)
FROM grid
INNER JOIN days ON instr(grid.kinds, days.kind) > 0
INNER JOIN languages AS l ON l.language_code = grid.language_code
WHERE true
ORDER BY grid.schedule_id, days.position, grid.starts, grid.ends
ON CONFLICT DO NOTHING;
