-- Of the whole file: what is in use, and not free for what comes.
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
