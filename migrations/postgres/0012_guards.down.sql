DROP TABLE syncline_set_aside;
ALTER TABLE syncline_timer
    DROP CONSTRAINT syncline_timer_subject,
    DROP CONSTRAINT syncline_timer_due_in_years_1000_to_9999;
ALTER TABLE syncline_delayed DROP CONSTRAINT syncline_delayed_sendable;
ALTER TABLE syncline_outbox DROP CONSTRAINT syncline_outbox_given;
