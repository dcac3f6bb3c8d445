// Published ports at [::1], as the supervisor sees them: it listens there, and starts a relay when somebody comes.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "read.h"
#include "relay.h"
#include "table.h"

#define NOBODY 65535u    // of the workload's range of uids: no user, as most programs have it
#define RELAY_ENDS 1000  // milliseconds that a killed one may take
#define RELAY_PAUSE 1000 // … before another is started, where one has failed
#define BACKLOG 128
#define STALE_MOST 4096 // datagrams: more than a socket's buffer takes

// All else that is published the rules translate, before it comes to the socket.
bool is_relayed(const struct port *port) {
    return port->both || (port->six && (IN6_IS_ADDR_UNSPECIFIED(&port->address) || IN6_IS_ADDR_LOOPBACK(&port->address)));
}

int do_relay_loopback(struct context *context, const struct step_relay_loopback *step) {
    struct ports *ports = context->ports;
    if (!ports) return refuse(context, EPROTO, "no ports have been claimed");
    struct bytes six = fill_messages(context, step->address6);
    if (six.length != sizeof ports->six) return refuse(context, EINVAL, "an IPv6 address");
    memcpy(&ports->six, six.start, six.length);
    ports->relays = true;
    ports->arrivals = -1;
    context->deed->made = true;
    return 0;
}

int undo_relay_loopback(struct context *context, const struct step_relay_loopback *step, struct deed *deed,
                        enum ending ending) {
    (void)step, (void)deed, (void)ending;
    struct ports *ports = context->ports;
    const int no = 0;
    int result = relay_end(context);
    int error = errno;
    // Until the next start, where there is one: whoever comes is refused, and the port stays taken. One that did not
    // listen yet does not now either.
    for (unsigned i = 0; ports && i < ports->count; i++) {
        if (!is_relayed(&ports->each[i]) || ports->each[i].datagrams) continue;
        setsockopt(ports->each[i].socket, SOL_SOCKET, SO_REUSEADDR, &no, sizeof no);
        shutdown(ports->each[i].socket, SHUT_RD);
    }
    errno = error;
    return result;
}

// Connections that ended before the run began still have the port: socket(7), SO_REUSEADDR. A listening socket shares it
// with nobody.
static int listen_at(const struct port *port) {
    const int yes = 1;
    if (fcntl(port->socket, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return -1;
    if (port->datagrams) {
        // What came before was for nobody, or for the last start.
        for (int i = 0; i < STALE_MOST && recv(port->socket, NULL, 0, 0) >= 0;) i++;
        return 0;
    }
    if (setsockopt(port->socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) return -1;
    return listen(port->socket, BACKLOG);
}

// Once the ports are published: until then nobody is let in at any other address either.
int relay_begin(struct context *context) {
    struct ports *ports = context->ports;
    if (!ports->relays) return 0;
    ports->arrivals = epoll_create1(EPOLL_CLOEXEC);
    int result = ports->arrivals;
    for (unsigned i = 0; result >= 0 && i < ports->count; i++) {
        struct epoll_event wanted = {.events = EPOLLIN};
        if (!is_relayed(&ports->each[i])) continue;
        result = listen_at(&ports->each[i]);
        if (result == 0) result = epoll_ctl(ports->arrivals, EPOLL_CTL_ADD, ports->each[i].socket, &wanted);
        if (result < 0) explain(context, "port %u of [::1]", ports->each[i].number);
    }
    return result < 0 ? -1 : 0;
}

void relay_watch(const struct context *context, struct pollfd *one) {
    const struct ports *ports = context->ports;
    bool waits = ports && ports->relays && context->result.started && ports->relay == 0 && ports->relay_after == 0;
    *one = (struct pollfd){waits ? ports->arrivals : -1, POLLIN, 0};
}

void relay_take(struct context *context, const struct pollfd *one) {
    struct ports *ports = context->ports;
    if (ports && ports->relay_after && now() >= ports->relay_after) ports->relay_after = 0;
    if (!one->revents) return;
    const struct relayed about = {.ports = ports, .six = ports->six, .four.s_addr = htonl(context->slots.address),
                                  .user = (uid_t)context->slots.uids + NOBODY, .supervisor = getpid()};
    ports->relay = fork_child();
    if (ports->relay == 0) relay_main(&about);
    if (ports->relay < 0) ports->relay = 0, ports->relay_after = now() + RELAY_PAUSE;
}

// One that has ended by itself found nothing to do; another comes when there is.
void relay_reap(struct context *context) {
    struct ports *ports = context->ports;
    int status = 0;
    if (!ports || ports->relay <= 0 || waitpid(ports->relay, &status, WNOHANG) != ports->relay) return;
    ports->relay = 0;
    ports->relay_after = status ? now() + RELAY_PAUSE : 0;
}

uint64_t relay_due(const struct context *context) { return context->ports ? context->ports->relay_after : 0; }

// It has nothing of its own to put in order.
int relay_end(struct context *context) {
    struct ports *ports = context->ports;
    const struct timespec pause = {.tv_nsec = 1000000};
    if (!ports || !ports->relays) return 0;
    if (ports->relay > 0) kill(ports->relay, SIGKILL);
    for (unsigned i = 0; ports->relay > 0 && i < RELAY_ENDS; i++) {
        relay_reap(context);
        if (ports->relay > 0) nanosleep(&pause, NULL);
    }
    close_held(&ports->arrivals);
    errno = ETIMEDOUT;
    return ports->relay > 0 ? -1 : 0;
}
