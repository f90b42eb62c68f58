UPDATE syncline_incarnation SET agreed = ? WHERE agreed > ?
