"""Which certificates a device may stand on: its own, those of their issuers, and so on up to the root key.

Certificates may form circles (a device may certify whoever certified it), and a thief may make thousands, so this is
one walk over strongly connected components with sets held as bits, not a search for each device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from identity.statement import Certificate


def ancestry(by_device: Mapping[bytes, Sequence[Certificate]], asked: Mapping[bytes, int]) -> dict[bytes, int]:
    """Device -> the certificates of `asked` (id -> bit number) that it may stand on, as bits of an integer."""
    issuers = {
        device: [c.issuer for c in certificates if c.issuer is not None and c.issuer in by_device]
        for device, certificates in by_device.items()
    }
    masks: dict[bytes, int] = {}
    for component in components(issuers):
        mask = 0
        for device in component:
            for c in by_device[device]:
                if c.id in asked:
                    mask |= 1 << asked[c.id]
                mask |= masks.get(c.issuer, 0) if c.issuer is not None else 0
        for device in component:
            masks[device] = mask
    return masks


def components(graph: Mapping[bytes, Sequence[bytes]]) -> Iterator[list[bytes]]:
    """Strongly connected components, each after all that it leads to (Tarjan 1972, without recursion)."""
    index: dict[bytes, int] = {}
    low: dict[bytes, int] = {}
    path: list[bytes] = []
    open_nodes: set[bytes] = set()
    for start in graph:
        if start in index:
            continue
        work: list[tuple[bytes, int]] = [(start, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                index[node] = low[node] = len(index)
                path.append(node)
                open_nodes.add(node)
            else:
                low[node] = min(low[node], low[graph[node][at - 1]])
            for place in range(at, len(graph[node])):
                following = graph[node][place]
                if following not in index:
                    work.append((node, place + 1))
                    work.append((following, 0))
                    break
                if following in open_nodes:
                    low[node] = min(low[node], index[following])
            else:
                if low[node] == index[node]:
                    component = [path.pop()]
                    while component[-1] != node:
                        component.append(path.pop())
                    open_nodes.difference_update(component)
                    yield component
