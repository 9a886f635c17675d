# Installs the program and what belongs to it. Build first, as yourself: cargo build --release
#
#   make install [PREFIX=/usr/local] [DESTDIR=] [BINARY=target/release/uwwan]
#   make uninstall, with the same variables
PREFIX = /usr/local
DESTDIR =
BINARY = target/release/uwwan

install uninstall:
	tools/install $@ --prefix "$(PREFIX)" --destdir "$(DESTDIR)" --binary "$(BINARY)"

.PHONY: install uninstall
