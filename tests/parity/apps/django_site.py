"""A Django site in one file: its admin, sessions, uploads and a stream."""

import os

import django
from django.conf import settings
from django.contrib.messages import constants

FOLDER = os.environ["DATA_FOLDER"]
settings.configure(
    SECRET_KEY="key",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER}/site.sqlite"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages")],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    STATIC_URL="/static/",
    MESSAGE_LEVEL=constants.DEBUG,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def index(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visit {request.session['visits']} of {request.get_host()} as {request.user}")


@csrf_exempt
def upload(request):
    files = {name: [file.name, file.size, file.content_type] for name, file in request.FILES.items()}
    return JsonResponse({"files": files, "fields": dict(request.POST), "raw": len(request.body) if not files else None})


def stream(request):
    return StreamingHttpResponse(f"line {n}\n" for n in range(1000))


def source(request):
    return FileResponse(open(__file__, "rb"), as_attachment=True, filename="sïte.py")


async def in_a_coroutine(request):
    return JsonResponse({"users": await User.objects.acount()})


def broken(request):
    raise RuntimeError("broken")


urlpatterns = [
    path("", index),
    path("upload", upload),
    path("stream", stream),
    path("source", source),
    path("async/", in_a_coroutine),
    path("broken", broken),
    path("admin/", admin.site.urls),
]
call_command("migrate", verbosity=0)
User.objects.create_superuser("anna", "anna@example.org", "s3cret")
app = get_wsgi_application()
