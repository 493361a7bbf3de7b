-- Until then a commit that the range's last holder had begun may still arrive at the destination: it is leased to nobody else.
ALTER TABLE ranges ADD COLUMN late_until INTEGER NOT NULL DEFAULT 0;
