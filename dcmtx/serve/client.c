/* dcmtx @VERSION@ for hooks: hands the command line over to `dcmtx serve`; without a server, runs dcmtx in its place.
   cc -O2 -o dcmtx-client client.c      (made by `dcmtx serve --client-source`; make it anew for each version of dcmtx) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int server = -1;
static volatile sig_atomic_t passed;

static void pass_on(int number) { /* the job answers it, and cleans up */
  unsigned char byte = passed = number;
  if (send(server, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) _exit(128 + number);
}

@ASK@
static void put(char **at, const char *word) { *at = stpcpy(*at, word) + 1; }

int main(int argc, char **argv) {
  static const char *const forwarded[] = {"COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TERM", "TMPDIR", "TZ"};
  static const char *const peers[] = {@PEERS@};
  const char *named = getenv("DCMTX_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR"), *value, *slash = strrchr(*argv, '/');
  for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
    if (!strcmp(slash ? slash + 1 : *argv, peers[i])) { /* called by the name of another converter: dcmtx as NAME */
      char **as = calloc(argc + 3, sizeof *as);
      if (!as) return 1;
      memcpy(as + 3, argv + 1, argc * sizeof *as);
      as[0] = *argv, as[1] = "as", as[2] = (char *)peers[i], argv = as, argc += 2;
      break;
    }
  int fds[4], count = 0, variables = 0, s = -1, signals[] = {SIGHUP, SIGINT, SIGTERM}, alone = 0;
  const char *apart[] = {"serve", "link", "relay", "plan", "shard"};
  for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) alone |= argc > 1 && !strcmp(argv[1], apart[i]);
  for (int i = 1; i < argc; i++) alone |= !strncmp(argv[i], "--cluster", 9);
  char opened[4] = "", number[16], second[108] = "";
  size_t length = 64;
  for (int i = 0; i < 3; i++)
    if (fcntl(i, F_GETFD) >= 0) opened[count] = '0' + i, fds[count++] = i;
  if (runtime && snprintf(second, sizeof second, "%s/dcmtx/socket", runtime) >= (int)sizeof second) *second = 0;
  if (!alone && (fds[count] = open(".", O_PATH | O_CLOEXEC)) >= 0 && (s = ask(named ? named : "/run/dcmtx/socket")) < 0)
    s = named || !*second ? -1 : ask(second);
  if (s < 0) { /* nothing was sent: this process does it, as Python */
    char **line = calloc(argc + 4, sizeof *line), *python[] = {"@PYTHON@", "-P", "-m", "dcmtx"};
    if (!line || setenv("DCMTX_SOCKET", "", !alone)) return 1;
    memcpy(line, python, sizeof python);
    memcpy(line + 4, argv + 1, argc * sizeof *line);
    execv(*line, line);
    fprintf(stderr, "dcmtx: %s cannot be run; make this client anew by dcmtx serve --client-source\n", *line);
    return 1;
  }
  for (int i = 1; i < argc; i++) length += strlen(argv[i]) + 1;
  for (int i = 0; i < 7; i++)
    if ((value = getenv(forwarded[i]))) length += strlen(forwarded[i]) + strlen(value) + 2, variables++;
  char *job = malloc(length), *at = job ? job + 8 : NULL, control[CMSG_SPACE(sizeof fds)] = {0}, digits[9];
  if (!job) return 1;
  mode_t mask = umask(0);
  snprintf(number, sizeof number, "%o", (unsigned)mask), put(&at, number), put(&at, opened);
  snprintf(number, sizeof number, "%d", variables), put(&at, number);
  for (int i = 0; i < 7; i++)
    if ((value = getenv(forwarded[i]))) at = stpcpy(stpcpy(at, forwarded[i]), "="), put(&at, value);
  for (int i = 1; i < argc; i++) put(&at, argv[i]);
  snprintf(digits, sizeof digits, "%08zx", (size_t)(at - job) - 8), memcpy(job, digits, 8);
  size_t own = sizeof(int) * (count + 1);
  struct iovec data = {job, at - job};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(own)};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET, rights->cmsg_type = SCM_RIGHTS, rights->cmsg_len = CMSG_LEN(own);
  memcpy(CMSG_DATA(rights), fds, own);
  unsigned char status;
  sigset_t block, before;
  sigemptyset(&block), server = s;
  for (int i = 0; i < 3; i++) sigaddset(&block, signals[i]);
  sigprocmask(SIG_BLOCK, &block, &before); /* none goes in between the bytes of the job */
  for (int i = 0; i < 3; i++)
    if (signal(signals[i], pass_on) == SIG_IGN) signal(signals[i], SIG_IGN);
  ssize_t sent = sendmsg(s, &message, MSG_NOSIGNAL), more;
  for (; sent >= 0 && job + sent < at; sent += more)
    if ((more = send(s, job + sent, at - job - sent, MSG_NOSIGNAL)) <= 0) break;
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (recv(s, &status, 1, 0) == 1) return status;
  if (passed) return 128 + passed;
  if (strchr(opened, '2'))
    fputs("dcmtx: the server's process for this job died without a status; the server's log says how, and every DST is "
          "whole, as it was before or as it was to be\n", stderr);
  return 6;
}
