"""
The services of the shop, one per process: shop.py web|catalog|cart|orders.
Whom a service calls is in its environment: CATALOG, CART, ORDERS, STORE.
"""

import asyncio
import os
import sys

import http11
import resp

ITEMS = ["apples", "bread", "cheese", "dates", "eggs"]
DECLINED_EVERY = 10        # one order in so many is refused, with 503


def peer(name):
    return http11.Client(os.environ[name.upper()], f"shop-{sys.argv[1]}")


class Catalog:
    """GET /items, GET /items/<number>."""

    async def handle(self, method, path, body):
        words = path.strip("/").split("/")

        if words == ["items"]:
            return 200, ("\n".join(ITEMS) + "\n").encode()

        if len(words) == 2 and words[1].isdigit():
            number = int(words[1])
            if number < len(ITEMS):
                return 200, (ITEMS[number] + "\n").encode()

        return 404, b"no such item\n"


class Cart:
    """GET, POST, DELETE /cart/<user>; the carts are Redis lists."""

    def __init__(self):
        self.store = resp.Client(os.environ["STORE"])

    async def handle(self, method, path, body):
        user = path.rpartition("/")[2]
        key = f"cart:{user}"

        if method == "POST":
            size = await self.store.call("RPUSH", key, body.decode())
            return 201, f"{size}\n".encode()

        if method == "DELETE":
            await self.store.call("DEL", key)
            return 200, b"empty\n"

        found = await self.store.call("LRANGE", key, "0", "-1")
        return 200, ("\n".join(found) + "\n").encode()


class Orders:
    """POST /orders/<user>: checks the price, empties the cart."""

    def __init__(self):
        self.catalog = peer("catalog")
        self.cart = peer("cart")
        self.count = 0

    async def handle(self, method, path, body):
        user = path.rpartition("/")[2]
        self.count += 1

        if self.count % DECLINED_EVERY == 0:
            return 503, b"payment declined\n"

        status, _ = await self.catalog.call(
            "GET", f"/items/{self.count % len(ITEMS)}")
        if status != 200:
            return 502, b"no catalog\n"

        status, _ = await self.cart.call("DELETE", f"/cart/{user}")
        if status != 200:
            return 502, b"no cart\n"

        return 201, f"order {self.count}\n".encode()


class Web:
    """GET / shows the shop, GET /add and /buy use it."""

    def __init__(self):
        self.catalog = peer("catalog")
        self.cart = peer("cart")
        self.orders = peer("orders")
        self.count = 0

    async def handle(self, method, path, body):
        self.count += 1
        user = f"user{self.count % 7}"

        if path == "/add":
            item = ITEMS[self.count % len(ITEMS)].encode()
            return await self.cart.call("POST", f"/cart/{user}", item)

        if path == "/buy":
            return await self.orders.call("POST", f"/orders/{user}")

        answers = await asyncio.gather(
            self.catalog.call("GET", "/items"),
            self.cart.call("GET", f"/cart/{user}"))
        if all(status == 200 for status, _ in answers):
            return 200, b"\n".join(answer for _, answer in answers)
        return 502, b"something is out of order\n"


ROLES = {"catalog": Catalog, "cart": Cart, "orders": Orders, "web": Web}


async def run(role):
    service = ROLES[role]()

    async def handle(method, path, body):
        if path == "/healthz":
            return 200, b"ok\n"
        try:
            status, answer = await service.handle(method, path, body)
        except (OSError, resp.Error) as error:
            return 502, f"{error}\n".encode()
        return status or 502, answer

    await http11.Server(handle).serve(int(os.environ.get("PORT", "8080")))


if __name__ == "__main__":
    http11.main(run(sys.argv[1]))
