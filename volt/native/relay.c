// The relay of [::1], a process: connections and datagrams that come there are passed on to the workload, whose address no
// packet of [::1] can be translated to. It ends when none has come for a while.
#include "relay.h"

#include <errno.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"

#define CONNECTIONS 256u       // at a time; others wait to be accepted
#define SENDERS 128u           // of datagrams; the one that was quiet longest gives way
#define AT_ONCE (64u << 10)    // bytes
#define BURST 16               // datagrams of one socket, before others have their turn
#define CONNECT_LIMIT 10000    // milliseconds
#define SENDER_LIMIT 60000     // … that one is remembered
#define IDLE_LIMIT 30000       // … that it waits for another connection
#define NO_DESCRIPTORS_PAUSE 100 // …
#define ROUND 1000             // … after which all of these are looked at
#define DESCRIPTORS 2048u      // more than all of it takes

// From the client to the workload, and back: `ends` are in this order, and way 1 begins at end 1.
struct connection {
    int ends[2];
    bool used, connecting, ended[2], blocked[2];
    unsigned port;
    bool four;                // there was nobody at the IPv6 address
    uint64_t by;              // … to be connected
    const struct pollfd *at;  // its two among the polls
};

struct sender {
    int socket; // to the workload; -1 for none
    unsigned port;
    in_port_t number; // of the sender's port at [::1]
    bool four;
    uint64_t last;
    const struct pollfd *at;
};

static struct relay {
    const struct relayed *about;
    struct connection *connections;
    struct sender *senders, *latest; // whose datagram is the one in `datagram`
    struct pollfd *polls, none;
    const struct pollfd *listening[PORTS_MOST];
    uint8_t *bytes, *datagram;
    size_t datagram_length;
    unsigned open; // connections
    uint64_t full_until, quiet_since;
} *relay;

static const struct port *port_of(unsigned number) { return &relay->about->ports->each[number]; }

// ── the workload

static int set(int socket, int level, int option, int value) {
    return setsockopt(socket, level, option, &value, sizeof value);
}

// A socket that is connected to the workload, or about to be.
static int reach(unsigned number, bool four, int type) {
    const struct relayed *about = relay->about;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port_of(number)->inside), .sin6_addr = about->six};
    struct sockaddr_in old = {.sin_family = AF_INET, .sin_port = six.sin6_port, .sin_addr = about->four};
    int one = socket(four ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int result = one < 0 ? -1
                 : four  ? connect(one, (const struct sockaddr *)&old, sizeof old)
                         : connect(one, (const struct sockaddr *)&six, sizeof six);
    if (result < 0 && errno != EINPROGRESS) close_held(&one);
    return one;
}

// ── connections

static void finish(struct connection *connection) {
    close_held(&connection->ends[0]);
    close_held(&connection->ends[1]);
    connection->used = false;
    relay->open--;
    relay->full_until = 0;
}

// What is broken on one side is broken on the other, and not at its end: a reset, tcp(7).
static void abandon(struct connection *connection) {
    const struct linger at_once = {.l_onoff = 1};
    for (int i = 0; i < 2; i++)
        if (connection->ends[i] >= 0)
            setsockopt(connection->ends[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    finish(connection);
}

// At the IPv6 address; where nobody listens there, at the other: many a server has that alone.
static void connect_on(struct connection *connection) {
    close_held(&connection->ends[1]);
    connection->ends[1] = reach(connection->port, connection->four, SOCK_STREAM);
    if (connection->ends[1] < 0 && !connection->four) {
        connection->four = true;
        connection->ends[1] = reach(connection->port, true, SOCK_STREAM);
    }
    connection->connecting = true;
    if (connection->ends[1] < 0) abandon(connection);
}

static void connected(struct connection *connection) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(connection->ends[1], SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error && !connection->four) {
        connection->four = true;
        connect_on(connection);
        return;
    }
    connection->connecting = false;
    for (int i = 0; i < 2; i++) set(connection->ends[i], IPPROTO_TCP, TCP_NODELAY, 1);
    if (error) abandon(connection);
}

// What has come is looked at, sent as far as that goes, and only then taken: so none of it has to be kept here.
static void pass_on(struct connection *connection, int way) {
    int from = connection->ends[way], to = connection->ends[!way];
    ssize_t got = recv(from, relay->bytes, AT_ONCE, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0) {
        connection->ended[way] = true;
        shutdown(to, SHUT_WR);
        if (connection->ended[!way]) finish(connection);
        return;
    }
    ssize_t sent = got < 0 ? -1 : send(to, relay->bytes, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        abandon(connection);
        return;
    }
    connection->blocked[way] = got > 0 && sent < got;
    // tcp(7): taken without being copied.
    for (ssize_t taken; sent > 0; sent -= taken) {
        taken = recv(from, NULL, (size_t)sent, MSG_TRUNC | MSG_DONTWAIT);
        if (taken <= 0) {
            abandon(connection);
            return;
        }
    }
}

static bool is_from_here(const struct sockaddr_in6 *from) {
    return from->sin6_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&from->sin6_addr);
}

// Whoever comes from elsewhere comes past rules that are not there: he is refused.
static void take_connection(unsigned number) {
    struct sockaddr_in6 from = {0};
    socklen_t size = sizeof from;
    if (relay->open == CONNECTIONS) return;
    int client = accept4(port_of(number)->socket, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
        if (errno == EMFILE || errno == ENFILE) relay->full_until = now() + NO_DESCRIPTORS_PAUSE;
        return;
    }
    struct connection *connection = relay->connections;
    while (connection->used) connection++;
    *connection = (struct connection){.ends = {client, -1}, .used = true, .port = number, .by = now() + CONNECT_LIMIT};
    relay->open++;
    if (is_from_here(&from)) connect_on(connection);
    else abandon(connection);
}

static short wanted(const struct connection *connection, int end) {
    if (connection->connecting) return end ? POLLOUT : 0;
    bool reads = !connection->ended[end] && !connection->blocked[end];
    bool writes = !connection->ended[!end] && connection->blocked[!end];
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

static void serve(struct connection *connection, const struct pollfd *polls) {
    if (connection->connecting) {
        if (polls[0].revents & POLLERR || now() >= connection->by) abandon(connection);
        else if (polls[1].revents) connected(connection);
        return;
    }
    for (int way = 0; way < 2 && connection->used; way++) {
        bool ready = polls[way].revents & (POLLIN | POLLHUP | POLLERR) || polls[!way].revents & (POLLOUT | POLLERR);
        if (ready && !connection->ended[way]) pass_on(connection, way);
    }
    // Where both ways wait for the other end, nothing of that would be read.
    if (connection->used && (polls[0].revents | polls[1].revents) & POLLERR) abandon(connection);
}

// ── datagrams

static void forget(struct sender *sender) {
    close_held(&sender->socket);
    if (relay->latest == sender) relay->latest = NULL;
}

// Nobody is at the IPv6 address: what was sent last is sent to the other.
static void turn_to_four(struct sender *sender) {
    if (sender->four) return;
    sender->four = true;
    close_held(&sender->socket);
    sender->socket = reach(sender->port, true, SOCK_DGRAM);
    if (sender->socket < 0) forget(sender);
    else if (relay->latest == sender) send(sender->socket, relay->datagram, relay->datagram_length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static struct sender *sender_at(unsigned port, in_port_t number) {
    struct sender *oldest = relay->senders;
    for (struct sender *one = relay->senders; one < relay->senders + SENDERS; one++) {
        if (one->socket >= 0 && one->port == port && one->number == number) return one;
        if (oldest->socket >= 0 && (one->socket < 0 || one->last < oldest->last)) oldest = one;
    }
    if (oldest->socket >= 0) forget(oldest);
    *oldest = (struct sender){.socket = reach(port, false, SOCK_DGRAM), .port = port, .number = number};
    return oldest->socket < 0 ? NULL : oldest;
}

static bool take_datagram(unsigned port) {
    struct sockaddr_in6 from = {0};
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(port_of(port)->socket, relay->datagram, AT_ONCE, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (got < 0) return false;
    relay->latest = NULL;
    if (!is_from_here(&from)) return true;
    struct sender *sender = sender_at(port, from.sin6_port);
    if (!sender) return true;
    sender->last = now();
    relay->latest = sender;
    relay->datagram_length = (size_t)got;
    if (send(sender->socket, relay->datagram, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
        turn_to_four(sender);
    return true;
}

static bool take_answer(struct sender *sender) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = sender->number, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    ssize_t got = recv(sender->socket, relay->bytes, AT_ONCE, MSG_DONTWAIT);
    if (got < 0 && errno == ECONNREFUSED) turn_to_four(sender);
    if (got < 0) return false;
    sender->last = now();
    sendto(port_of(sender->port)->socket, relay->bytes, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL,
           (const struct sockaddr *)&to, sizeof to);
    return true;
}

// ── all of it

// Not one more than there are descriptors: poll(2) takes as many as a process may have.
static unsigned prepare(struct pollfd *to) {
    const struct pollfd *begin = to;
    const struct ports *ports = relay->about->ports;
    if (relay->full_until && relay->full_until <= now()) relay->full_until = 0;
    bool full = relay->open == CONNECTIONS || relay->full_until;
    for (struct connection *one = relay->connections; one < relay->connections + CONNECTIONS; one++) {
        one->at = to;
        for (int end = 0; one->used && end < 2; end++) {
            // Of which nothing is wanted is not asked: that both sides have shut it would be told again and again.
            short events = wanted(one, end);
            *to++ = (struct pollfd){events || one->connecting ? one->ends[end] : -1, events, 0};
        }
    }
    for (struct sender *one = relay->senders; one < relay->senders + SENDERS; one++) {
        one->at = one->socket < 0 ? &relay->none : to;
        if (one->socket >= 0) *to++ = (struct pollfd){one->socket, POLLIN, 0};
    }
    for (unsigned i = 0; i < ports->count; i++) {
        bool listens = is_relayed(&ports->each[i]) && (ports->each[i].datagrams || !full);
        relay->listening[i] = listens ? to : &relay->none;
        if (listens) *to++ = (struct pollfd){ports->each[i].socket, POLLIN, 0};
    }
    return (unsigned)(to - begin);
}

// In this order: what is new has no place among the polls.
static void serve_all(void) {
    const struct ports *ports = relay->about->ports;
    for (struct connection *one = relay->connections; one < relay->connections + CONNECTIONS; one++)
        if (one->used) serve(one, one->at);
    for (struct sender *one = relay->senders; one < relay->senders + SENDERS; one++) {
        for (int n = 0; one->at->revents && n < BURST && one->socket >= 0 && take_answer(one); n++) continue;
        if (one->socket >= 0 && now() - one->last >= SENDER_LIMIT) forget(one);
    }
    for (unsigned i = 0; i < ports->count; i++) {
        if (!relay->listening[i]->revents) continue;
        if (!ports->each[i].datagrams) take_connection(i);
        else for (int n = 0; n < BURST && take_datagram(i); n++) continue;
    }
}

static bool is_quiet(void) {
    bool quiet = relay->open == 0;
    for (unsigned i = 0; i < SENDERS; i++) quiet = quiet && relay->senders[i].socket < 0;
    if (!quiet) relay->quiet_since = now();
    return quiet && now() - relay->quiet_since >= IDLE_LIMIT;
}

// Milliseconds until something is over, or may be.
static int patience(void) {
    bool waits = relay->open == 0;
    for (unsigned i = 0; i < CONNECTIONS; i++) waits = waits || (relay->connections[i].used && relay->connections[i].connecting);
    for (unsigned i = 0; i < SENDERS; i++) waits = waits || relay->senders[i].socket >= 0;
    return relay->full_until ? NO_DESCRIPTORS_PAUSE : waits ? ROUND : -1;
}

// ── the process

// Every descriptor but the sockets that it serves.
static int close_others(const struct ports *ports) {
    for (unsigned next = 0;;) {
        unsigned kept = ~0u;
        for (unsigned i = 0; i < ports->count; i++) {
            unsigned one = (unsigned)ports->each[i].socket;
            if (is_relayed(&ports->each[i]) && one >= next && one < kept) kept = one;
        }
        if (kept == ~0u) return k_close_range(next, ~0u, 0);
        if (kept > next && k_close_range(next, kept - 1, 0) < 0) return -1;
        next = kept + 1;
    }
}

// Of files nothing; of TCP the workload's ports. What the kernel has of that: landlock(7).
static int enter_landlock(const struct ports *ports) {
    static const uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff}; // by version
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
    if (version < 1) return 0;
    const struct landlock_ruleset all = {files[version < 5 ? version : 5], version < 4 ? 0 : 3, version < 6 ? 0 : 3};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0u);
    int result = ruleset < 0 ? -1 : 0;
    for (unsigned i = 0; result == 0 && version >= 4 && i < ports->count; i++) {
        const struct landlock_port rule = {2, ports->each[i].inside}; // LANDLOCK_ACCESS_NET_CONNECT_TCP
        result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PORT, &rule, 0u);
    }
    if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, ruleset, 0u);
    close_held(&ruleset);
    return result;
}

// Another call ends it, linux/seccomp.h. What is one call on one architecture is another on the other.
static int install_calls(void) {
    static const unsigned calls[] = {
        SYS_accept4,  SYS_socket,   SYS_connect, SYS_getsockopt,    SYS_setsockopt,      SYS_recvfrom,
        SYS_sendto,   SYS_shutdown, SYS_close,   SYS_clock_gettime, SYS_restart_syscall, SYS_exit_group,
#ifdef SYS_poll
        SYS_poll,
#else
        SYS_ppoll,
#endif
    };
    enum { COUNT = sizeof calls / sizeof *calls, LENGTH = COUNT + 6 };
    struct instruction program[LENGTH] = {
        {LOAD_WORD, 0, 0, 4}, {JUMP_EQUAL, 1, 0, OWN_ARCHITECTURE}, {RETURN, 0, 0, KILL_PROCESS}, {LOAD_WORD, 0, 0, 0}};
    for (unsigned i = 0; i < COUNT; i++)
        program[4 + i] = (struct instruction){JUMP_EQUAL, (uint8_t)(COUNT - i), 0, calls[i]};
    program[4 + COUNT] = (struct instruction){RETURN, 0, 0, KILL_PROCESS};
    program[5 + COUNT] = (struct instruction){RETURN, 0, 0, PERMIT};
    const struct filter_program filter = {LENGTH, program};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &filter);
}

// A change of ids takes the request for a parent's death away, prctl(2), and root's capabilities.
static int confine(const struct relayed *about) {
    struct rlimit descriptors = {0};
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0) return -1;
    descriptors.rlim_cur = descriptors.rlim_max < DESCRIPTORS ? descriptors.rlim_max : DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &descriptors) < 0 || close_others(about->ports) < 0 || chdir("/") < 0) return -1;
    gid_t group = (gid_t)about->user;
    if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0) return -1;
    struct capability_header header = {.version = CAPABILITY_VERSION};
    struct capability_sets none[2] = {0};
    if (setresuid(about->user, about->user, about->user) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != about->supervisor) return -1;
    if (syscall(SYS_capset, &header, none) < 0) return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || enter_landlock(about->ports) < 0) return -1;
    return install_calls();
}

_Noreturn void relay_main(const struct relayed *about) {
    forget_all();
    relay = keep(sizeof *relay);
    relay->about = about;
    relay->connections = keep(CONNECTIONS * sizeof *relay->connections);
    relay->senders = keep(SENDERS * sizeof *relay->senders);
    relay->polls = keep((2 * CONNECTIONS + SENDERS + PORTS_MOST) * sizeof *relay->polls);
    relay->bytes = keep(AT_ONCE);
    relay->datagram = keep(AT_ONCE);
    for (unsigned i = 0; i < SENDERS; i++) relay->senders[i].socket = -1;
    relay->quiet_since = now();
    if (confine(about) < 0) _exit(VOLT_FAILED);
    while (!is_quiet()) {
        unsigned count = prepare(relay->polls);
        if (poll(relay->polls, count, patience()) < 0) _exit(VOLT_FAILED);
        serve_all();
    }
    _exit(0);
}
