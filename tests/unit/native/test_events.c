// What limits did: the kernel's files as numbers, and in words.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "volt.h"
#include "table.h"

static struct context context;
static char folder[] = "/tmp/volt-events-XXXXXX";

static void put(const char *name, const char *content) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write_all(file, content, strlen(content)) == 0);
    close(file);
}

static void take(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void begin(void) {
    strcpy(folder, "/tmp/volt-events-XXXXXX");
    CHECK(mkdtemp(folder));
    static struct deed deeds[1];
    context_init(&context);
    context.deed = context.deeds = deeds;
    const struct step_watch_limits step = {.path = folder};
    CHECK(do_watch_limits(&context, &step) == 0);
}

static void end(void) {
    static const char *const names[] = {"memory.max", "memory.events", "pids.events", "memory.pressure"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) take(names[i]);
    CHECK(rmdir(folder) == 0);
}

TEST(events_are_read_by_their_names) {
    begin();
    put("memory.max", "536870912\n");
    put("memory.events", "low 0\nhigh 7\nmax 30\noom 2\noom_kill 3\noom_group_kill 0\n");
    put("pids.events", "max 12\n");
    put("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n");
    read_events(&context);
    CHECK(context.events.known);
    CHECK(context.events.memory_limit == 536870912 && context.events.oom == 2 && context.events.oom_kills == 3);
    CHECK(context.events.throttled == 7 && context.events.refused == 12 && context.events.memory_stall == 4711);
    CHECK(context.events.cpu_stall == 0 && context.events.io_stall == 0); // no such file
    end();
}

TEST(without_limits_nothing_is_known) {
    context_init(&context);
    read_events(&context);
    CHECK(!context.events.known);
}

static const char *message(struct events events, int wait_status) {
    static char text[256];
    context_init(&context);
    context.events = events;
    context.result.exited = true;
    context.result.wait_status = wait_status;
    events_message(&context, text, sizeof text);
    return text;
}

TEST(a_payload_that_was_killed_is_told_with_its_limit) {
    struct events events = {.known = true, .oom = 1, .oom_kills = 1, .memory_limit = 512 << 20};
    CHECK_TEXT(message(events, SIGKILL), "killed: out of memory at 512 MiB");
    events.memory_limit = 1000;
    CHECK_TEXT(message(events, SIGKILL), "killed: out of memory at 1000 bytes");
    events.memory_limit = (uint64_t)3 << 30;
    CHECK_TEXT(message(events, SIGKILL), "killed: out of memory at 3 GiB");
}

TEST(a_payload_that_outlived_its_processes_is_told_their_number) {
    struct events events = {.known = true, .oom = 1, .oom_kills = 1, .memory_limit = 4096};
    CHECK_TEXT(message(events, 0), "1 of its processes was killed: out of memory at 4 KiB");
    events.oom_kills = 3;
    CHECK_TEXT(message(events, 1 << 8), "3 of its processes were killed: out of memory at 4 KiB");
}

TEST(a_machine_without_memory_is_not_the_limits_doing) {
    struct events events = {.known = true, .oom_kills = 1, .memory_limit = 4096};
    CHECK_TEXT(message(events, SIGKILL), "killed: out of memory on this machine");
}

TEST(who_was_not_killed_for_memory_is_told_nothing) {
    CHECK_TEXT(message((struct events){.known = true, .refused = 5}, SIGKILL), "");
    CHECK_TEXT(message((struct events){0}, SIGKILL), "");
}
