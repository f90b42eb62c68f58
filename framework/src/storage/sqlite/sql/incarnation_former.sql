INSERT INTO syncline_incarnation AS known (incarnation, agreed) VALUES ($1, $2)
ON CONFLICT (incarnation) DO UPDATE SET agreed = min(known.agreed, excluded.agreed)
