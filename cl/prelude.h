/* prelude.h: put before every kernel file. */
