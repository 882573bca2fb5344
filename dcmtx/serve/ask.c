static int ask(const char *path) { /* a connection on which it is our turn, or -1 */
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  struct timeval limit = {30, 0}, none = {0, 0};
  struct ucred peer;
  socklen_t size = sizeof peer;
  struct stat st, ns = {0}, root;
  char greeting[160], answer, *slash;
  int s = -1;
  if (strlen(path) >= sizeof to.sun_path) return -1;
  strcpy(to.sun_path, path); /* whoever gets the job gets the images: nobody else may have put the socket there */
  if ((slash = strrchr(to.sun_path, '/'))) *slash = 0;
  if (lstat(!slash ? "." : slash == to.sun_path ? "/" : to.sun_path, &st) || (st.st_mode & (S_IFMT | 022)) != S_IFDIR ||
      (st.st_uid && st.st_uid != geteuid()) || lstat(path, &st) || (st.st_mode & (S_IFMT | 077)) != S_IFSOCK ||
      st.st_uid != geteuid() || stat("/", &root) || (s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
    return -1;
  strcpy(to.sun_path, path);
  stat("/proc/self/ns/mnt", &ns);
  int n = snprintf(greeting, sizeof greeting, "dcmtx @VERSION@ job %llu:%llu:%llu\n", (unsigned long long)ns.st_ino,
                   (unsigned long long)root.st_dev, (unsigned long long)root.st_ino);
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (!connect(s, (struct sockaddr *)&to, sizeof to) && !getsockopt(s, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
      peer.uid == geteuid() && send(s, greeting, n, MSG_NOSIGNAL) == n && recv(s, &answer, 1, 0) == 1 && answer == '+' &&
      !setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none) &&
      !setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none))
    return s;
  close(s);
  return -1;
}
