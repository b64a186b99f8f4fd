"""A Pyramid app: routes, renderers, a signed session, forbidden pages, static files, a subscriber."""

import os

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token
from pyramid.events import NewResponse
from pyramid.httpexceptions import HTTPFound, HTTPNotFound
from pyramid.response import FileResponse, Response
from pyramid.security import Allowed, Denied, forget, remember
from pyramid.session import SignedCookieSessionFactory


class Policy:
    def __init__(self):
        self.helper = SessionAuthenticationHelper()

    def authenticated_userid(self, request):
        return self.helper.authenticated_userid(request)

    identity = authenticated_userid

    def permits(self, request, context, permission):
        return Allowed("known") if self.authenticated_userid(request) else Denied("unknown")

    def remember(self, request, userid, **kw):
        return self.helper.remember(request, userid, **kw)

    def forget(self, request, **kw):
        return self.helper.forget(request, **kw)


def index(request):
    return {"user": request.authenticated_userid, "url": request.route_url("item", id=7, _query={"q": "ü"})}


def item(request):
    if request.matchdict["id"] == "0":
        raise HTTPNotFound("no item 0")
    return {"id": request.matchdict["id"], "query": dict(request.params), "accept": str(request.accept)}


def login(request):
    if request.method == "POST":
        return HTTPFound("/", headers=remember(request, request.POST["name"]))
    return Response(f'<input name="csrf_token" value="{get_csrf_token(request)}">')


def logout(request):
    return HTTPFound("/", headers=forget(request))


def secret(request):
    return {"secret": True}


def refused(request):
    request.response.status = 403
    return {"error": "forbidden"}


def upload(request):
    file = request.POST["file"]
    return {"name": file.filename, "size": len(file.file.read())}


def stream(request):
    return Response(app_iter=(f"line {n}\n".encode() for n in range(1000)), content_type="text/plain")


def source(request):
    return FileResponse(__file__, request=request, content_type="text/x-python")


def broken(request):
    raise RuntimeError("broken")


def add_path(event):
    event.response.headers["X-Path"] = event.request.path_info.encode("unicode_escape").decode()


with Configurator(settings={"pyramid.default_locale_name": "en"}) as config:
    config.set_session_factory(SignedCookieSessionFactory("key"))
    config.set_security_policy(Policy())
    config.add_subscriber(add_path, NewResponse)
    for name, pattern, view, options in (
        ("index", "/", index, {"renderer": "json"}),
        ("item", "/items/{id}", item, {"renderer": "json"}),
        ("login", "/login", login, {"require_csrf": True}),
        ("logout", "/logout", logout, {}),
        ("secret", "/secret", secret, {"renderer": "json", "permission": "see"}),
        ("upload", "/upload", upload, {"renderer": "json", "request_method": "POST"}),
        ("stream", "/stream", stream, {}),
        ("source", "/source", source, {}),
        ("broken", "/broken", broken, {}),
    ):
        config.add_route(name, pattern)
        config.add_view(view, route_name=name, **options)
    config.add_forbidden_view(refused, renderer="json")
    config.add_static_view("files", os.path.dirname(__file__), cache_max_age=60)
    config.add_notfound_view(lambda request: HTTPNotFound("nothing"), append_slash=True)
    app = config.make_wsgi_app()
