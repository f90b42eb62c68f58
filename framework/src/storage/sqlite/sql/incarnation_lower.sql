UPDATE syncline_incarnation SET agreed = $1 WHERE agreed > $2
