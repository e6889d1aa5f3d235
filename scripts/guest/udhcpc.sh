#!/bin/sh
# shellcheck disable=SC2154 # the variables are set by udhcpc
# Applies what DHCP says and keeps it in /run/dhcp for a person to look at.
case "$1" in
bound | renew)
	set >"/run/dhcp/$interface.lease"
	ip addr flush dev "$interface"
	ip addr add "$ip/$mask" dev "$interface"
	if [ -n "$mtu" ]; then ip link set "$interface" mtu "$mtu"; fi
	metric=$(cat "/run/dhcp/$interface.metric")
	if [ -n "$router" ]; then ip route replace default via "${router%% *}" dev "$interface" metric "$metric"; fi
	# the first card's name servers count
	if [ "$interface" = eth0 ]; then
		: >/etc/resolv.conf
		if [ -n "$search" ]; then echo "search $search" >>/etc/resolv.conf; fi
		for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
	fi
	;;
esac
