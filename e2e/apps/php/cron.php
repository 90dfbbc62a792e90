<?php
// A job of the shop's crontab.
throw new RuntimeException('nightly-sync failed for warehouse ' . random_int(1, 99));
