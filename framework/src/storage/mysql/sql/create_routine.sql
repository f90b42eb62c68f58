-- Whether the connected user may make procedures here. What a role grants is not seen.
SELECT EXISTS (
    SELECT 1 FROM information_schema.user_privileges
    WHERE privilege_type = 'CREATE ROUTINE' AND grantee = CONCAT(
        '''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')
) OR EXISTS (
    SELECT 1 FROM information_schema.schema_privileges
    WHERE privilege_type = 'CREATE ROUTINE' AND DATABASE() LIKE table_schema AND grantee = CONCAT(
        '''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')
)
