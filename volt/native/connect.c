// Steps that connect a workload to a bridge: bridge, rules and forwarding found or made, then its pair of links.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"
#include "ports.h"
#include "read.h"

#define LINKS "/proc/self/net/dev"
#define LINKS_LIMIT (8u << 20) // bytes: some 60,000 of them
#define LINK_PREFIX "volt-" // of a workload's link, before its address in 8 hex digits: volt/plan/links.py
#define HEX_DIGITS 8
#define INSIDE "eth0" // … and of its other end, in the workload: volt/plan/links.py

// ── forwarding

// The one digit that `path` holds below /proc/sys, 0 where there is none.
static char setting(const char *path) {
    char value = 0;
    int file = open(format_text("/proc/sys/%s", path), O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, &value, 1) != 1) value = 0;
    close_held(&file);
    return value;
}

static int note(struct context *context, const char *record, const char *path, char value) {
    char *line = format_text("%s %c\n", path, value);
    int notes = open(record, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int result = notes < 0 ? -1 : write_all(notes, line, strlen(line));
    close_held(&notes);
    return result < 0 ? explain(context, "%s", record) : 0;
}

static int change_setting(struct context *context, const char *path, char to) {
    int file = open(format_text("/proc/sys/%s", path), O_WRONLY | O_CLOEXEC);
    int result = file < 0 ? -1 : write_all(file, &to, 1);
    close_held(&file);
    return result < 0 ? explain(context, "%s", path) : 0;
}

// Noted before it is changed: what a crash leaves can be put back.
static int change(struct context *context, const char *record, const char *path, char from, char to) {
    return note(context, record, path, from) < 0 ? -1 : change_setting(context, path, to);
}

// An interface that forwards takes no more routers' advertisements, and loses the routes that it has from them, unless
// accept_ra is 2. One that forwards already is noted: it would not any more once forwarding as a whole has ended.
static int keep_interfaces(struct context *context, const char *record, const char *family) {
    const char *folder = format_text("/proc/sys/net/%s/conf", family);
    DIR *interfaces = opendir(folder);
    int result = interfaces ? 0 : explain(context, "%s", folder);
    for (struct dirent *entry; result == 0 && (entry = readdir(interfaces));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "all") == 0 || strcmp(entry->d_name, "lo") == 0) continue;
        char *accept = format_text("net/%s/conf/%s/accept_ra", family, entry->d_name);
        char *forwards = format_text("net/%s/conf/%s/forwarding", family, entry->d_name);
        if (setting(forwards) == '1') result = note(context, record, forwards, '1');
        else if (setting(accept) == '1') result = change(context, record, accept, '1', '2');
    }
    if (interfaces) closedir(interfaces);
    return result;
}

// The kernel sets others with it: net/ipv4/devinet.c, inet_forward_change(), net/ipv6/addrconf.c. Those that it would
// not set to what they are when this is put back are noted before.
static int forward(struct context *context, const char *record, const char *family, const char *path) {
    char *redirects = format_text("net/%s/conf/all/accept_redirects", family);
    if (setting(redirects) == '0' && note(context, record, redirects, '0') < 0) return -1;
    if (keep_interfaces(context, record, family) < 0) return -1;
    return change(context, record, path, '0', '1');
}

int do_allow_forwarding(struct context *context, const struct step_allow_forwarding *step) {
    const char *four = "net/ipv4/ip_forward", *six = step->ipv6 ? "net/ipv6/conf/all/forwarding" : NULL;
    if (setting(four) != '0' && (!six || setting(six) != '0')) return 0;
    // One launch after another: what the kernel has set for the first is not what was there before.
    int notes = open(step->record, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int result = notes < 0 || lock_whole(notes, F_WRLCK) < 0 ? explain(context, "%s", step->record) : 0;
    if (result == 0 && setting(four) == '0') result = forward(context, step->record, "ipv4", four);
    if (result == 0 && six && setting(six) == '0') result = forward(context, step->record, "ipv6", six);
    close_held(&notes);
    return result;
}

// ── the bridge, and its rules

// The host takes none from its own workloads: what is set for links that come later may say that it does.
static int ignore_advertisements(struct context *context, const char *label) {
    char *accept = format_text("net/ipv6/conf/%s/accept_ra", label);
    char value = setting(accept);
    return !value || value == '0' ? 0 : change_setting(context, accept, '0');
}

// The MAC by which workloads know who has an address of the bridge: volt/plan/links.py.
static bool is_own_mac(const struct ifreq *hardware, uint32_t address) {
    const uint8_t own[] = {0x02, 0x56, (uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8),
                           (uint8_t)address};
    return memcmp(hardware->ifr_hwaddr.sa_data, own, sizeof own) == 0;
}

// The bridge's index, 0 where there is none; *whole when it is up and has its MAC and its addresses.
static uint32_t find_bridge(const struct step_ensure_bridge *step, bool *whole) {
    struct ifreq index = {0}, flags, address, hardware;
    int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    format_into(index.ifr_name, sizeof index.ifr_name, "%s", step->label);
    hardware = address = flags = index;
    *whole = false;
    if (probe < 0 || ioctl(probe, SIOCGIFINDEX, &index) < 0) {
        close_held(&probe);
        return 0;
    }
    if (ioctl(probe, SIOCGIFFLAGS, &flags) == 0 && ioctl(probe, SIOCGIFADDR, &address) == 0) {
        const struct sockaddr_in *found = (const void *)&address.ifr_addr;
        *whole = flags.ifr_flags & IFF_UP && ntohl(found->sin_addr.s_addr) == step->address && is_own_address(step->address6);
        *whole &= ioctl(probe, SIOCGIFHWADDR, &hardware) == 0 && is_own_mac(&hardware, step->address);
    }
    close_held(&probe);
    return (uint32_t)index.ifr_ifindex;
}

int do_ensure_bridge(struct context *context, const struct step_ensure_bridge *step) {
    bool whole;
    context->slots.bridge = find_bridge(step, &whole);
    if (whole) return 0;
    int netlink = netlink_socket(context, ROUTE);
    int result = netlink < 0 ? -1 : 0;
    // Two launches may both find none: the second one's is there already.
    if (result == 0 && !context->slots.bridge) {
        result = send_request(context, netlink, step->make, EEXIST);
        context->slots.bridge = find_bridge(step, &whole);
        if (result == 0 && !context->slots.bridge) result = refuse(context, ENODEV, "%s", step->label);
    }
    if (result == 0) result = ignore_advertisements(context, step->label);
    if (result == 0) result = send_request(context, netlink, fill_messages(context, step->mend), EEXIST);
    close_held(&netlink);
    context->link.mended = true;
    return result;
}

int do_ensure_rules(struct context *context, const struct step_ensure_rules *step) {
    int netlink = netlink_socket(context, NETFILTER);
    int found = netlink < 0 ? -1 : count_answers(context, netlink, step->ask, step->mark);
    int result = found < 0 ? -1 : 0;
    if (result == 0 && found != (int)step->count) {
        result = send_request(context, netlink, step->make, 0);
        context->link.mended = true;
    }
    const struct bytes any = {(const uint8_t *)"", 0};
    found = result < 0 ? -1 : count_answers(context, netlink, step->known, any);
    if (found == 0) context->link.mended = true;
    close_held(&netlink);
    return found < 0 ? -1 : 0;
}

// Of the interface `label`: replies to 127.0.0.1 come back over the bridge.
static char *routes_loopback(const char *label) { return format_text("net/ipv4/conf/%s/route_localnet", label); }

int do_route_loopback(struct context *context, const struct step_route_loopback *step) {
    const char *path = routes_loopback(step->label);
    return setting(path) == '0' ? change(context, step->record, path, '0', '1') : 0;
}

// For workloads that run: the bridge may have been made anew. What it was before has been noted then.
int mend_loopback(struct context *context) {
    char name[IF_NAMESIZE];
    if (!if_indextoname(context->slots.bridge, name)) return explain(context, "bridge %u", context->slots.bridge);
    const char *path = routes_loopback(name);
    return setting(path) == '0' ? change_setting(context, path, '1') : 0;
}

// ── the workload's links

static int send_filled(struct context *context, unsigned protocol, struct bytes raw, int tolerated) {
    return send_once(context, protocol, fill_messages(context, raw), tolerated);
}

// The address of the workload whose link this is, 0 for another interface.
static uint32_t address_of(const char *name) {
    const char *digits = name + strlen(LINK_PREFIX);
    char *end;
    if (strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX)) != 0 || strlen(digits) != HEX_DIGITS) return 0;
    unsigned long address = strtoul(digits, &end, 16);
    return *end ? 0 : (uint32_t)address;
}

// The link that messages are about from here on.
static int find(struct context *context, const char *name) {
    struct ifreq index = {0};
    int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    format_into(index.ifr_name, sizeof index.ifr_name, "%s", name);
    int result = probe < 0 ? -1 : ioctl(probe, SIOCGIFINDEX, &index);
    close_held(&probe);
    context->slots.link = (uint32_t)index.ifr_ifindex;
    return result < 0 ? explain(context, "%s", index.ifr_name) : 0;
}

// The link of who has the claimed address.
int find_link(struct context *context) {
    return find(context, format_text(LINK_PREFIX "%08x", context->slots.address));
}

// The link at `address` is put on the bridge again, and the rules say again what may come out of it, what is published
// there, and that it may have connections. One that is gone by now needs none of it.
static int adopt_link(struct context *context, uint32_t address, const char *folder) {
    uint32_t own = context->slots.address;
    context->slots.address = address;
    int result = find_link(context) < 0 ? 0 : send_filled(context, ROUTE, context->link.adopt, ENODEV);
    if (result == 0) result = send_filled(context, NETFILTER, context->link.permit, EEXIST);
    if (result == 0) result = send_filled(context, NETFILTER, context->link.doubt, 0);
    context->slots.address = own;
    if (result == 0) result = mend_ports(context, folder, address);
    return result;
}

// Those of every workload of this network, proc_pid_net(5): a name and a colon begin each line of /proc/net/dev.
static int adopt_links(struct context *context, const struct step_prepare_link *step) {
    int list = open(LINKS, O_RDONLY | O_CLOEXEC), result = list < 0 ? explain(context, LINKS) : 0;
    char *lines = keep(LINKS_LIMIT), *rest = lines;
    ssize_t length = list < 0 ? 0 : read_up_to(list, lines, LINKS_LIMIT - 1);
    close_held(&list);
    lines[length < 0 ? 0 : length] = '\0';
    for (char *line; result == 0 && (line = strsep(&rest, "\n"));) {
        char *name = line + strspn(line, " ");
        uint32_t address = address_of(strsep(&name, ":"));
        if (address && (address & step->mask) == step->base) result = adopt_link(context, address, step->folder);
    }
    return result;
}

int do_prepare_link(struct context *context, const struct step_prepare_link *step) {
    bool mended = context->link.mended;
    context->link = (struct link){mended, step->create, step->adopt, step->permit, step->doubt, step->configure, step->remove};
    if (!mended) return 0;
    // In this order: who finds the network known finds its links so too.
    int result = adopt_links(context, step);
    return result < 0 ? -1 : send_once(context, NETFILTER, step->join, 0);
}

// The address is claimed: a link of that name is a dead workload's, and its network namespace about to go.
static int create_links(struct context *context) {
    int netlink = netlink_socket(context, ROUTE), result = -1;
    for (int attempt = 0; netlink >= 0 && attempt < 2; attempt++) {
        result = send_request(context, netlink, fill_messages(context, context->link.create), 0);
        if (result == 0 || errno != EEXIST) break;
        if (send_request(context, netlink, fill_messages(context, context->link.remove), ENODEV) < 0) break;
    }
    close_held(&netlink);
    return result;
}

static int configure_inside(void *about) {
    struct context *context = about;
    if (setns((int)context->slots.network, CLONE_NEWNET) < 0) {
        explain(context, "the network namespace");
        return errno;
    }
    // Its index may be any: a kernel with tunnels loaded makes some in each network namespace, before it.
    if (find(context, INSIDE) < 0 || send_filled(context, ROUTE, context->link.configure, 0) < 0) return errno;
    return 0;
}

// As prepare-link said, into this network namespace.
int connect_network(struct context *context, int network) {
    struct mark before = mark_memory();
    context->slots.network = (uint32_t)network;
    if (!context->link.create.length) return refuse(context, EPROTO, "no network has been prepared");
    int result = create_links(context);
    if (result == 0) result = find_link(context);
    if (result == 0) result = send_filled(context, ROUTE, context->link.adopt, 0);
    if (result == 0) result = send_filled(context, NETFILTER, context->link.permit, EEXIST);
    if (result == 0) result = act_apart(configure_inside, context, 0);
    if (result == 0) result = publish_ports(context);
    if (result == 0) result = forget_untranslated(context);
    int error = errno;
    forget_since(before);
    errno = error;
    return result;
}

// ── inside

int do_join_network(struct context *context, const struct step_join_network *step) {
    (void)step;
    uint8_t number[4];
    for (unsigned i = 0; i < sizeof number; i++) number[i] = (uint8_t)(context->deed->number >> (8 * i));
    int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int result = network < 0 ? -1 : send_frame(context->control, FRAME_NETWORK, number, sizeof number, network);
    close_held(&network);
    return result < 0 ? explain(context, "the network namespace") : await_go_on(context);
}

int do_set_sysctl(struct context *context, const struct step_set_sysctl *step) {
    int file = open(step->path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    int result = file < 0 ? -1 : write_all(file, step->value, strlen(step->value));
    close_held(&file);
    return result < 0 ? explain(context, "%s: %s", step->path, step->value) : 0;
}
