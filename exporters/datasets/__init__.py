"""The dataset → the formats of other tools. Pure writers over plain rows; the server says which rows leave."""
