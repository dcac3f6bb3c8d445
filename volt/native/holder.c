// Who has taken a port: the workload of another run, or the process that listens there.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

#include "ports.h"

#define CLAIM_LIMIT (64u << 10) // bytes of a claim that are looked at
#define TABLE_LIMIT (4u << 20)  // … and of /proc/net/tcp: 28,000 sockets
#define LISTENS 0x0a            // TCP_LISTEN, net/tcp_states.h

// ── another run, as its claim of an address says: volt/plan/published.py

// Whether these words, as in sockets of claim-ports, are about a port that is in the way of this one.
static bool clashes(char *words, const struct port *port) {
    const char *protocol = strsep(&words, " "), *address = strsep(&words, " "), *number = words ? words : "";
    struct in6_addr own = IN6ADDR_ANY_INIT;
    if (!address || strcmp(protocol, port->datagrams ? "udp" : "tcp") != 0) return false;
    if (strtoul(number, NULL, 10) != port->number) return false;
    if (port->both || strcmp(address, "*") == 0) return true;
    if (inet_pton(port->six ? AF_INET6 : AF_INET, address, &own) != 1) return false;
    return IN6_IS_ADDR_UNSPECIFIED(&own) || IN6_IS_ADDR_UNSPECIFIED(&port->address) ||
           memcmp(&own, &port->address, sizeof own) == 0;
}

// Whether a claim, which its holder's end would have unlocked, is of a run that has such a port.
static bool holds(int claim, char *content, const struct port *port) {
    ssize_t length = read_from_start(claim, content, CLAIM_LIMIT - 1);
    content[length > 0 ? length : 0] = '\0';
    char *sockets = strstr(content, "\"sockets\":[");
    if (!sockets || flock(claim, LOCK_SH | LOCK_NB) == 0) return false;
    char *copy = format_text("%s", strchr(sockets, '[') + 1), *rest = copy + strcspn(copy, "]");
    *rest = '\0';
    for (rest = copy; rest;) {
        char *words = strsep(&rest, ",");
        words += strspn(words, " \"");
        if (clashes(words, port)) return true;
    }
    return false;
}

static bool name_run(const char *folder, const struct port *port, char *to, size_t size) {
    DIR *claims = opendir(folder);
    char *content = keep(CLAIM_LIMIT), name[128], run[64], pid[32];
    bool found = false;
    for (struct dirent *entry; claims && !found && (entry = readdir(claims));) {
        int claim = openat(dirfd(claims), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        found = entry->d_name[0] != '.' && claim >= 0 && holds(claim, content, port);
        close_held(&claim);
    }
    if (claims) closedir(claims);
    if (!found) return false;
    holder_value(content, "\"name\"", name, sizeof name);
    holder_value(content, "\"run\"", run, sizeof run);
    holder_value(content, "\"pid\"", pid, sizeof pid);
    format_into(to, size, "the workload '%s' has it: run %s, pid %s", name, run, pid);
    return true;
}

// ── any other process, proc_pid_net(5)

// The address as /proc/net has it: words of the machine's byte order.
static void hex_address(const struct port *port, char to[33]) {
    uint32_t words[4];
    memcpy(words, &port->address, sizeof words);
    for (unsigned i = 0; i < (port->six ? 4u : 1u); i++) format_into(to + 8 * i, 9, "%08x", words[i]);
}

// The inode of the socket in this line, where it is in the way of the port; 0 otherwise. Of the fields, which spaces part,
// the second is ADDRESS:PORT, the fourth the state, the tenth the inode.
static unsigned long socket_in_the_way(char *line, const struct port *port) {
    char *fields[10] = {0}, own[33];
    for (unsigned i = 0; i < 10 && line; i++) {
        line += strspn(line, " ");
        fields[i] = strsep(&line, " ");
    }
    char *number = fields[9] ? strchr(fields[1], ':') : NULL;
    if (!number || strtoul(number + 1, NULL, 16) != port->number) return 0;
    *number = '\0';
    if (!port->datagrams && strtoul(fields[3], NULL, 16) != LISTENS) return 0;
    size_t length = strlen(fields[1]);
    hex_address(port, own);
    bool any = strspn(fields[1], "0") == length || IN6_IS_ADDR_UNSPECIFIED(&port->address);
    // An IPv6 socket may have an IPv4 address: it ends in that.
    bool same = length >= strlen(own) && strcasecmp(fields[1] + length - strlen(own), own) == 0;
    return any || same ? strtoul(fields[9], NULL, 10) : 0;
}

static unsigned long find_socket(const struct port *port) {
    static const char *const tables[2][2] = {{"tcp", "tcp6"}, {"udp", "udp6"}};
    char *lines = keep(TABLE_LIMIT);
    for (unsigned i = 0; i < 2; i++) {
        int table = open(format_text("/proc/self/net/%s", tables[port->datagrams][i]), O_RDONLY | O_CLOEXEC);
        ssize_t length = table < 0 ? 0 : read_up_to(table, lines, TABLE_LIMIT - 1);
        close_held(&table);
        lines[length > 0 ? length : 0] = '\0';
        char *rest = lines;
        strsep(&rest, "\n"); // the names of the fields
        for (char *line; (line = strsep(&rest, "\n"));) {
            unsigned long inode = socket_in_the_way(line, port);
            if (inode) return inode;
        }
    }
    return 0;
}

// Whether a process has this file open: `target` is what the link in its folder fd says.
static bool has_open(const char *process, const char *target) {
    char link[64];
    DIR *descriptors = opendir(format_text("/proc/%s/fd", process));
    bool found = false;
    for (struct dirent *entry; descriptors && !found && (entry = readdir(descriptors));) {
        ssize_t length = readlinkat(dirfd(descriptors), entry->d_name, link, sizeof link - 1);
        link[length > 0 ? length : 0] = '\0';
        found = strcmp(link, target) == 0;
    }
    if (descriptors) closedir(descriptors);
    return found;
}

static bool name_process(unsigned long inode, char *to, size_t size) {
    char raw[64], name[128];
    const char *target = format_text("socket:[%lu]", inode);
    DIR *processes = opendir("/proc");
    bool found = false;
    for (struct dirent *entry; processes && !found && (entry = readdir(processes));) {
        struct mark before = mark_memory();
        found = entry->d_name[0] > '0' && entry->d_name[0] <= '9' && has_open(entry->d_name, target);
        if (found) {
            int file = open(format_text("/proc/%s/comm", entry->d_name), O_RDONLY | O_CLOEXEC);
            ssize_t length = file < 0 ? 0 : read_up_to(file, raw, sizeof raw);
            close_held(&file);
            harmless(name, sizeof name, raw, length > 1 ? (size_t)length - 1 : 0);
            format_into(to, size, "%s has it, pid %s", name, entry->d_name);
        }
        forget_since(before);
    }
    if (processes) closedir(processes);
    return found;
}

// Into `to`, in words.
void name_holder(const char *folder, const struct port *port, char *to, size_t size) {
    if (name_run(folder, port, to, size)) return;
    unsigned long inode = find_socket(port);
    if (!inode || !name_process(inode, to, size))
        format_into(to, size, "who has it listens nowhere, or is not seen from here");
}
