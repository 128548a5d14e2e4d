// notify: tells the service manager what state we are in (sd_notify(3)), if one asked for it.
//
// The protocol is a datagram to the socket named in NOTIFY_SOCKET. Thread: any.
#pragma once

#include <string_view>

// "READY=1", "RELOADING=1\nMONOTONIC_USEC=...", "STOPPING=1". Silent when nobody listens.
void notify(std::string_view state);
// "RELOADING=1" with the time stamp that Type=notify-reload wants.
void notify_reloading();
