/* Has a process die at its n-th call that changes a disk, before that call took effect or after. Preloaded: see cleaner.py.
 *
 * DIES_AT is n, DIES_WHEN "before" or "after"; DIES_COUNT names a file into which the number of calls is written at an end that
 * came by itself. Calls on files below DIES_BELOW count, and no others.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long calls;

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int is_below(const char *path) {
    const char *below = setting("DIES_BELOW", "/");
    return path && strncmp(path, below, strlen(below)) == 0;
}

static long count(void) { return atomic_fetch_add(&calls, 1) + 1; }

static void die_if(long number, const char *when) {
    if (number == atol(setting("DIES_AT", "0")) && strcmp(when, setting("DIES_WHEN", "after")) == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

__attribute__((destructor)) static void tell(void) {
    const char *file = getenv("DIES_COUNT");
    FILE *out = file ? fopen(file, "w") : NULL;
    if (out) {
        fprintf(out, "%ld\n", atomic_load(&calls));
        fclose(out);
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define COUNTED(path, call)                      \
    if (!is_below(path)) return call;            \
    long number = count();                       \
    die_if(number, "before");                    \
    int result = call;                           \
    die_if(number, "after");                     \
    return result

int unlink(const char *path) { COUNTED(path, REAL(unlink)(path)); }
int rename(const char *from, const char *to) { COUNTED(to, REAL(rename)(from, to)); }
int link(const char *from, const char *to) { COUNTED(to, REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) { COUNTED(to, REAL(linkat)(a, from, b, to, flags)); }
int unlinkat(int at, const char *path, int flags) { COUNTED(path, REAL(unlinkat)(at, path, flags)); }

/* What a database writes at a place of its own: whose file it is nobody asks here, for what is written at places is a database's. */
ssize_t pwrite64(int file, const void *content, size_t size, off64_t place) {
    long number = count();
    die_if(number, "before");
    ssize_t result = REAL(pwrite64)(file, content, size, place);
    die_if(number, "after");
    return result;
}
