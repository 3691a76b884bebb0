-- Creates every table of the booked-business database, parents before children.
-- Reads: nothing. Writes: schema only. Params: none. Re-run: safe, existing tables are left as they are.
-- Dates are ISO text, timestamps are UTC text `YYYY-MM-DD HH:MM:SS`, money is a double that is never rounded to cents.
-- STRICT refuses text in a money column, which a plain table would store and sum as zero.

CREATE TABLE IF NOT EXISTS languages (
    language_id    INTEGER PRIMARY KEY,
    language_code  TEXT NOT NULL UNIQUE,
    language_name  TEXT NOT NULL,
    language_group TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS sectors (
    sector_id    INTEGER PRIMARY KEY,
    sector_code  TEXT NOT NULL UNIQUE,
    sector_name  TEXT NOT NULL,
    sector_group TEXT,
    is_active    INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1))
) STRICT;

CREATE TABLE IF NOT EXISTS markets (
    market_id    INTEGER PRIMARY KEY,
    market_name  TEXT NOT NULL UNIQUE,
    market_code  TEXT NOT NULL UNIQUE,
    region       TEXT,
    is_active    INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_date TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

-- The market of an alias may not exist yet, hence no foreign key.
CREATE TABLE IF NOT EXISTS market_aliases (
    alias       TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    market_code TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS agencies (
    agency_id   INTEGER PRIMARY KEY,
    agency_name TEXT NOT NULL UNIQUE,
    is_active   INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    notes       TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS customers (
    customer_id     INTEGER PRIMARY KEY,
    normalized_name TEXT NOT NULL UNIQUE,
    sector_id       INTEGER REFERENCES sectors (sector_id) ON DELETE RESTRICT,
    agency_id       INTEGER REFERENCES agencies (agency_id) ON DELETE RESTRICT,
    customer_type   TEXT,
    is_active       INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    notes           TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS entity_aliases (
    alias_id         INTEGER PRIMARY KEY,
    alias_name       TEXT NOT NULL,
    entity_type      TEXT NOT NULL CHECK (entity_type IN ('customer', 'agency')),
    target_entity_id INTEGER NOT NULL,
    confidence_score INTEGER NOT NULL DEFAULT 100 CHECK (confidence_score BETWEEN 1 AND 100),
    created_by       TEXT,
    is_active        INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    UNIQUE (alias_name, entity_type)
) STRICT;

CREATE TABLE IF NOT EXISTS programming_schedules (
    schedule_id          INTEGER PRIMARY KEY,
    schedule_name        TEXT NOT NULL,
    schedule_version     TEXT NOT NULL,
    schedule_type        TEXT NOT NULL,
    effective_start_date TEXT NOT NULL CHECK (effective_start_date IS date(effective_start_date)),
    effective_end_date   TEXT CHECK (effective_end_date IS date(effective_end_date)),
    is_active            INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_by           TEXT,
    notes                TEXT,
    UNIQUE (schedule_name, schedule_type, effective_start_date),
    CHECK (effective_end_date IS NULL OR effective_end_date > effective_start_date)
) STRICT;

CREATE TABLE IF NOT EXISTS schedule_market_assignments (
    assignment_id        INTEGER PRIMARY KEY,
    schedule_id          INTEGER NOT NULL REFERENCES programming_schedules (schedule_id) ON DELETE RESTRICT,
    market_id            INTEGER NOT NULL REFERENCES markets (market_id) ON DELETE RESTRICT,
    effective_start_date TEXT NOT NULL CHECK (effective_start_date IS date(effective_start_date)),
    effective_end_date   TEXT CHECK (effective_end_date IS date(effective_end_date)),
    assignment_priority  INTEGER NOT NULL DEFAULT 1,
    created_by           TEXT NOT NULL DEFAULT 'system',
    notes                TEXT,
    UNIQUE (market_id, schedule_id, effective_start_date),
    CHECK (effective_end_date IS NULL OR effective_end_date > effective_start_date)
) STRICT;

CREATE TABLE IF NOT EXISTS schedule_collision_log (
    collision_id        INTEGER PRIMARY KEY,
    collision_type      TEXT NOT NULL CHECK (collision_type IN ('market_overlap', 'schedule_gap', 'date_conflict')),
    severity            TEXT NOT NULL CHECK (severity IN ('warning', 'error', 'info')),
    market_id           INTEGER REFERENCES markets (market_id) ON DELETE RESTRICT,
    schedule_id_1       INTEGER REFERENCES programming_schedules (schedule_id) ON DELETE RESTRICT,
    schedule_id_2       INTEGER REFERENCES programming_schedules (schedule_id) ON DELETE RESTRICT,
    conflict_start_date TEXT,
    conflict_end_date   TEXT,
    description         TEXT,
    resolution_status   TEXT NOT NULL DEFAULT 'unresolved'
        CHECK (resolution_status IN ('unresolved', 'resolved', 'ignored')),
    detected_date       TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

-- The end date of an assignment is its last valid day.
CREATE TRIGGER IF NOT EXISTS log_overlapping_assignments
AFTER INSERT ON schedule_market_assignments
BEGIN
    INSERT INTO schedule_collision_log (
        collision_type, severity, market_id, schedule_id_1, schedule_id_2,
        conflict_start_date, conflict_end_date, description
    )
    SELECT
        'market_overlap', 'error', new.market_id, earlier.schedule_id, new.schedule_id,
        max(earlier.effective_start_date, new.effective_start_date),
        CASE
            WHEN earlier.effective_end_date IS NULL THEN new.effective_end_date
            WHEN new.effective_end_date IS NULL THEN earlier.effective_end_date
            ELSE min(earlier.effective_end_date, new.effective_end_date)
        END,
        'assignment ' || new.assignment_id || ' overlaps assignment ' || earlier.assignment_id
    FROM schedule_market_assignments AS earlier
    WHERE earlier.market_id = new.market_id
        AND earlier.assignment_id <> new.assignment_id
        AND earlier.effective_start_date <= coalesce(new.effective_end_date, '9999-12-31')
        AND new.effective_start_date <= coalesce(earlier.effective_end_date, '9999-12-31');
END;

CREATE TABLE IF NOT EXISTS language_blocks (
    block_id      INTEGER PRIMARY KEY,
    schedule_id   INTEGER NOT NULL REFERENCES programming_schedules (schedule_id) ON DELETE RESTRICT,
    day_of_week   TEXT NOT NULL CHECK (
        day_of_week IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')
    ),
    time_start    TEXT NOT NULL CHECK (time_start GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]'),
    time_end      TEXT NOT NULL CHECK (time_end GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]' AND time_end <= '24:00:00'),
    language_id   INTEGER NOT NULL REFERENCES languages (language_id) ON DELETE RESTRICT,
    block_name    TEXT NOT NULL,
    block_type    TEXT,
    day_part      TEXT CHECK (
        day_part IN (
            'Early Morning', 'Morning', 'Midday', 'Afternoon', 'Early Evening', 'Prime', 'Late Night', 'Overnight'
        )
    ),
    display_order INTEGER,
    is_active     INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    UNIQUE (schedule_id, day_of_week, time_start, time_end),
    CHECK (time_start < time_end)
) STRICT;

CREATE TABLE IF NOT EXISTS import_batches (
    batch_id                  TEXT NOT NULL PRIMARY KEY,
    import_date               TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    import_mode               TEXT NOT NULL CHECK (import_mode IN ('HISTORICAL', 'WEEKLY_UPDATE', 'MANUAL')),
    source_file               TEXT,
    source_date               TEXT CHECK (source_date IS date(source_date)),
    source_sha256             TEXT,
    broadcast_months_affected TEXT CHECK (json_type(broadcast_months_affected) = 'array'),
    records_imported          INTEGER NOT NULL DEFAULT 0,
    records_deleted           INTEGER NOT NULL DEFAULT 0,
    rows_read                 INTEGER NOT NULL DEFAULT 0,
    rows_filtered_closed      INTEGER NOT NULL DEFAULT 0,
    rows_filtered_trade       INTEGER NOT NULL DEFAULT 0,
    rows_rejected             INTEGER NOT NULL DEFAULT 0,
    rows_inserted             INTEGER NOT NULL DEFAULT 0,
    rows_removed              INTEGER NOT NULL DEFAULT 0,
    rows_unchanged            INTEGER NOT NULL DEFAULT 0,
    status                    TEXT NOT NULL CHECK (status IN ('RUNNING', 'COMPLETED', 'FAILED')),
    started_by                TEXT,
    completed_at              TEXT,
    notes                     TEXT,
    error_summary             TEXT
) STRICT;

-- No reference to spots or months: rejects are kept even when the load itself rolls back.
CREATE TABLE IF NOT EXISTS import_rejects (
    reject_id     INTEGER PRIMARY KEY,
    batch_id      TEXT NOT NULL REFERENCES import_batches (batch_id) ON DELETE CASCADE,
    source_file   TEXT,
    sheet         TEXT,
    row_number    INTEGER,
    severity      TEXT NOT NULL CHECK (severity IN ('reject', 'warning')),
    reason        TEXT NOT NULL,
    column_header TEXT,
    raw_value     TEXT CHECK (length(raw_value) <= 200),
    bill_code     TEXT,
    gross_rate    REAL,
    created_at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

CREATE TABLE IF NOT EXISTS month_closures (
    broadcast_month TEXT NOT NULL PRIMARY KEY CHECK (
        substr(broadcast_month, 1, 4) IN (
            'Jan-', 'Feb-', 'Mar-', 'Apr-', 'May-', 'Jun-', 'Jul-', 'Aug-', 'Sep-', 'Oct-', 'Nov-', 'Dec-'
        )
        AND substr(broadcast_month, 5) GLOB '[0-9][0-9]'
    ),
    closed_date     TEXT NOT NULL CHECK (closed_date IS date(closed_date)),
    closed_by       TEXT NOT NULL CHECK (trim(closed_by) <> ''),
    notes           TEXT,
    created_date    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

-- AUTOINCREMENT: the id of a removed spot is never given to another one, reports keep ids.
CREATE TABLE IF NOT EXISTS spots (
    spot_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    bill_code       TEXT NOT NULL,
    air_date        TEXT NOT NULL CHECK (air_date IS date(air_date)),
    end_date        TEXT CHECK (end_date IS date(end_date)),
    day_of_week     TEXT,
    time_in         TEXT,
    time_out        TEXT,
    length_seconds  TEXT,
    media           TEXT,
    comments        TEXT,
    language_code   TEXT,
    format          TEXT,
    sequence_number INTEGER,
    line_number     INTEGER,
    spot_type       TEXT CHECK (spot_type IN ('AV', 'BB', 'BNS', 'COM', 'CRD', 'PKG', 'PRD', 'PRG', 'SVC', '')),
    estimate        TEXT,
    gross_rate      REAL,
    make_good       TEXT,
    spot_value      REAL,
    broadcast_month TEXT NOT NULL CHECK (
        substr(broadcast_month, 1, 4) IN (
            'Jan-', 'Feb-', 'Mar-', 'Apr-', 'May-', 'Jun-', 'Jul-', 'Aug-', 'Sep-', 'Oct-', 'Nov-', 'Dec-'
        )
        AND substr(broadcast_month, 5) GLOB '[0-9][0-9]'
    ),
    broker_fees     REAL,
    priority        INTEGER,
    station_net     REAL,
    sales_person    TEXT,
    revenue_type    TEXT CHECK (lower(trim(revenue_type)) <> 'trade'),
    billing_type    TEXT CHECK (billing_type IN ('Calendar', 'Broadcast', '')),
    agency_flag     TEXT,
    affidavit_flag  TEXT CHECK (affidavit_flag IN ('Y', 'N', '')),
    contract        TEXT,
    market_name     TEXT,
    customer_id     INTEGER REFERENCES customers (customer_id) ON DELETE RESTRICT,
    agency_id       INTEGER REFERENCES agencies (agency_id) ON DELETE RESTRICT,
    market_id       INTEGER REFERENCES markets (market_id) ON DELETE RESTRICT,
    language_id     INTEGER REFERENCES languages (language_id) ON DELETE RESTRICT,
    load_date       TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    source_file     TEXT,
    is_historical   INTEGER NOT NULL DEFAULT 0 CHECK (is_historical IN (0, 1)),
    effective_date  TEXT CHECK (effective_date IS date(effective_date)),
    import_batch_id TEXT REFERENCES import_batches (batch_id) ON DELETE SET NULL,
    spot_category   TEXT,
    row_hash        TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS spot_language_assignments (
    assignment_id     INTEGER PRIMARY KEY,
    spot_id           INTEGER NOT NULL UNIQUE REFERENCES spots (spot_id) ON DELETE CASCADE,
    language_code     TEXT NOT NULL,
    language_status   TEXT NOT NULL CHECK (language_status IN ('determined', 'undetermined', 'default', 'invalid')),
    confidence        REAL NOT NULL,
    assignment_method TEXT NOT NULL,
    assigned_date     TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    requires_review   INTEGER NOT NULL DEFAULT 0 CHECK (requires_review IN (0, 1)),
    notes             TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS spot_language_blocks (
    assignment_id         INTEGER PRIMARY KEY,
    spot_id               INTEGER NOT NULL UNIQUE REFERENCES spots (spot_id) ON DELETE CASCADE,
    schedule_id           INTEGER REFERENCES programming_schedules (schedule_id) ON DELETE RESTRICT,
    block_id              INTEGER REFERENCES language_blocks (block_id) ON DELETE RESTRICT,
    customer_intent       TEXT NOT NULL CHECK (
        customer_intent IN ('language_specific', 'time_specific', 'indifferent', 'no_grid_coverage')
    ),
    intent_confidence     REAL NOT NULL,
    spans_multiple_blocks INTEGER NOT NULL DEFAULT 0 CHECK (spans_multiple_blocks IN (0, 1)),
    blocks_spanned        TEXT CHECK (json_type(blocks_spanned) = 'array'),
    primary_block_id      INTEGER REFERENCES language_blocks (block_id) ON DELETE RESTRICT,
    assignment_method     TEXT NOT NULL CHECK (
        assignment_method IN ('auto_computed', 'manual_override', 'no_grid_available')
    ),
    requires_attention    INTEGER NOT NULL DEFAULT 0 CHECK (requires_attention IN (0, 1)),
    alert_reason          TEXT,
    business_rule_applied TEXT,
    campaign_type         TEXT,
    assigned_date         TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    assigned_by           TEXT NOT NULL DEFAULT 'system',
    CHECK (
        (spans_multiple_blocks = 0 AND block_id IS NOT NULL)
        OR (spans_multiple_blocks = 1 AND block_id IS NULL AND blocks_spanned IS NOT NULL)
        OR (customer_intent = 'no_grid_coverage' AND block_id IS NULL)
    )
) STRICT;
