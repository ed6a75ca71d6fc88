/* Connects to services of the host: reach_loopback PORT ABSTRACT-SOCKET. */
#include "hostile.h"
#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	struct sockaddr_in tcp = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
	tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	tried("127.0.0.1", fd < 0 ? -1 : connect(fd, (struct sockaddr *)&tcp, sizeof tcp));

	struct sockaddr_un local = { .sun_family = AF_UNIX };
	size_t length = strlen(argv[2]);
	if (length >= sizeof local.sun_path)
		return 2;
	memcpy(local.sun_path + 1, argv[2], length);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	tried("abstract socket", fd < 0 ? -1 : connect(fd, (struct sockaddr *)&local,
		offsetof(struct sockaddr_un, sun_path) + 1 + length));
	return verdict();
}
