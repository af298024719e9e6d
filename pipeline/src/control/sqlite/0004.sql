-- What the first way of delivering kept; lanes have their own tables.
DROP TABLE cursors;
DROP TABLE dead_letters;
