/*
 * sqlite.c - the same record in SQLite, journal_mode=WAL, synchronous=FULL
 *
 * usage: sqlite FILE SESSIONS STEPS BYTES
 *
 * Each step is a transaction of its own, as the checkpointers of agent frameworks write them;
 * sessions take turns. Prints steps per second.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int fail(sqlite3 *db, const char *what)
{
    fprintf(stderr, "sqlite: %s: %s\n", what, sqlite3_errmsg(db));
    return 1;
}

int main(int argc, char **argv)
{
    size_t sessions, steps, bytes;
    sqlite3_stmt *insert;
    sqlite3 *db;
    double begun;
    char *data;

    if (argc != 5) {
        fprintf(stderr, "usage: sqlite FILE SESSIONS STEPS BYTES\n");
        return 2;
    }
    sessions = strtoul(argv[2], NULL, 10);
    steps = strtoul(argv[3], NULL, 10);
    bytes = strtoul(argv[4], NULL, 10);
    data = malloc(bytes);
    if (!data)
        return 1;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(' ' + rand() % 90);
    if (sqlite3_open(argv[1], &db) != SQLITE_OK)
        return fail(db, argv[1]);
    if (sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE step (session INTEGER, number INTEGER, record BLOB,"
                     " PRIMARY KEY (session, number)) WITHOUT ROWID",
                     NULL, NULL, NULL) != SQLITE_OK)
        return fail(db, "schema");
    if (sqlite3_prepare_v2(db, "INSERT INTO step VALUES (?, ?, ?)", -1, &insert, NULL) != SQLITE_OK)
        return fail(db, "prepare");
    begun = now();
    for (size_t i = 0; i < steps; i++)
        for (size_t s = 0; s < sessions; s++) {
            sqlite3_bind_int64(insert, 1, (sqlite3_int64)s);
            sqlite3_bind_int64(insert, 2, (sqlite3_int64)i);
            sqlite3_bind_blob64(insert, 3, data, bytes, SQLITE_STATIC);
            if (sqlite3_step(insert) != SQLITE_DONE)
                return fail(db, "insert");
            sqlite3_reset(insert);
        }
    printf("%.1f\n", (double)(steps * sessions) / (now() - begun));
    sqlite3_finalize(insert);
    free(data);
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
