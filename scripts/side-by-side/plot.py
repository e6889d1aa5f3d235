"""The figures as bars: an SVG that is readable on light and dark ground."""

COLORS = {'limanet': '#d9622b', 'limanet-vhost': '#e8a33d', 'passt': '#3b7dd8', 'slirp4netns': '#3a9d6a', 'qemu-slirp': '#8d6bbd'}
WIDTH, LEFT, BAR, GAP, PANEL_WIDTH = 960, 16, 11, 8, 456
LABEL = 138
NUMBER = 56

# title, whether small is good, [(label, MTU, metric, factor)]
PANELS = [
    ('TCP, Gbit/s, MTU 1500', False, [
        ('guest to host, 1', 1500, 'tcp_up1_mbps', .001), ('guest to host, 8', 1500, 'tcp_up8_mbps', .001),
        ('host to guest, 1', 1500, 'tcp_down1_mbps', .001), ('host to guest, 8', 1500, 'tcp_down8_mbps', .001),
        ('forwarded port', 1500, 'tcp_fwd1_mbps', .001)]),
    ('CPU seconds of the daemon for a GB, MTU 1500', True, [
        ('guest to host, 1', 1500, 'tcp_up1_cpu_s_per_GB', 1), ('guest to host, 8', 1500, 'tcp_up8_cpu_s_per_GB', 1),
        ('host to guest, 1', 1500, 'tcp_down1_cpu_s_per_GB', 1), ('host to guest, 8', 1500, 'tcp_down8_cpu_s_per_GB', 1),
        ('forwarded port', 1500, 'tcp_fwd1_cpu_s_per_GB', 1)]),
    ('TCP, Gbit/s, MTU 9000 and 65520', False, [
        ('to host, 9000', 9000, 'tcp_up1_mbps', .001), ('to guest, 9000', 9000, 'tcp_down1_mbps', .001),
        ('to host, 65520', 65520, 'tcp_up1_mbps', .001), ('to guest, 65520', 65520, 'tcp_down1_mbps', .001)]),
    ('Request and response, µs', True, [
        ('TCP, p50', 1500, 'tcp_rr_p50_us', 1), ('TCP, p99', 1500, 'tcp_rr_p99_us', 1),
        ('UDP, p50', 1500, 'udp_rr_p50_us', 1), ('UDP, p99', 1500, 'udp_rr_p99_us', 1)]),
    ('p99 beside a stream, ms', True, [
        ('TCP, stream up', 1500, 'beside_up_tcp_rr_p99_us', .001), ('TCP, stream down', 1500, 'beside_down_tcp_rr_p99_us', .001),
        ('UDP, stream up', 1500, 'beside_up_udp_rr_p99_us', .001), ('UDP, stream down', 1500, 'beside_down_udp_rr_p99_us', .001)]),
    ('Connect, request, close: 1000 per second', False, [
        ('1 at a time', 1500, 'crr1_cps', .001), ('8 at a time', 1500, 'crr8_cps', .001), ('64 at a time', 1500, 'crr64_cps', .001)]),
    ('UDP, 1000 datagrams per second', False, [
        ('1400 octets, up', 1500, 'udp_up_1400_kpps', 1), ('1400 octets, down', 1500, 'udp_down_1400_kpps', 1),
        ('64 octets, up', 1500, 'udp_up_64_kpps', 1), ('64 octets, down', 1500, 'udp_down_64_kpps', 1)]),
    ('Memory, MB', True, [
        ('idle', 1500, 'idle_rss_mb', 1), ('1000 connections', 1500, 'hold1000_rss_mb', 1),
        ('after bulk', 1500, 'after_rss_mb', 1), ('a minute later', 1500, 'rest_rss_mb', 1)]),
]

STYLE = '''text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 13px; font-weight: 600 }
.number { font-size: 10px; fill: #57606a }
.axis { stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .number { fill: #9aa4af } .axis { stroke: #6e7681 } }'''


def number(value):
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def panel(x, y, title, is_small_good, rows, median):
    parts = [f'<text class="title" x="{x}" y="{y + 12}">{title} <tspan class="number">({"less" if is_small_good else "more"} is better)</tspan></text>']
    cells = []
    for label, mtu, metric, factor in rows:
        values = [(name, median(name, mtu, metric)) for name in COLORS]
        cells.append((label, [(name, value * factor) for name, value in values if value is not None]))
    most = max((value for _, values in cells for _, value in values), default=1) or 1
    start, room = x + LABEL, PANEL_WIDTH - LABEL - NUMBER
    y += 22
    top = y
    for label, values in cells:
        height = max(1, len(values)) * BAR
        parts.append(f'<text x="{start - 6}" y="{y + height / 2 + 4:g}" text-anchor="end">{label}</text>')
        for name, value in values:
            width = max(1, room * value / most)
            parts.append(f'<rect x="{start}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLORS[name]}"><title>{name}</title></rect>')
            parts.append(f'<text class="number" x="{start + width + 4:.1f}" y="{y + BAR - 2}">{number(value)}</text>')
            y += BAR
        y += GAP + (0 if values else BAR)
    parts.append(f'<line class="axis" x1="{start - .5}" x2="{start - .5}" y1="{top - 2}" y2="{y - GAP + 1}"/>')
    return parts, y


def svg(median):
    parts = []
    for i, name in enumerate(COLORS):
        parts.append(f'<rect x="{LEFT + i * 120}" y="12" width="12" height="12" fill="{COLORS[name]}"/>')
        parts.append(f'<text x="{LEFT + 18 + i * 120}" y="22">{name}</text>')
    y = 44
    for first in range(0, len(PANELS), 2):
        bottom = y
        for column, one in enumerate(PANELS[first:first + 2]):
            drawn, end = panel(LEFT + column * (PANEL_WIDTH + LEFT), y, *one, median)
            parts += drawn
            bottom = max(bottom, end)
        y = bottom + 14
    body = '\n'.join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" '
            f'aria-label="limanet and other user-mode networks, measured side by side">\n<style>{STYLE}</style>\n{body}\n</svg>\n')
