/* Opens the socket families that reach past a network stack of one's own. */
#include "hostile.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
	tried("packet", socket(AF_PACKET, SOCK_RAW, 0));
	tried("raw icmp", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	tried("raw icmp6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
	tried("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
	tried("vsock", socket(40, SOCK_STREAM, 0));
	tried("alg", socket(38, SOCK_SEQPACKET, 0));
	return verdict();
}
