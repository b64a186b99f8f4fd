"""A small API with Flask-RESTX: models, parsers, masks, errors, Swagger."""

from flask import Flask
from flask_restx import Api, Namespace, Resource, fields, reqparse
from werkzeug.datastructures import FileStorage

app = Flask(__name__)
api = Api(app, version="1.0", title="Tasks", prefix="/api", doc="/docs/")
tasks = Namespace("tasks", description="What is to be done")
api.add_namespace(tasks)
task = tasks.model("Task", {"id": fields.Integer(readonly=True), "text": fields.String(required=True, min_length=2)})
page = reqparse.RequestParser()
page.add_argument("page", type=int, default=1, location="args", choices=(1, 2, 3))
page.add_argument("X-Tenant", location="headers")
upload = reqparse.RequestParser()
upload.add_argument("file", type=FileStorage, location="files", required=True)
stored = {1: {"id": 1, "text": "wäsche"}}


class OutOfTasks(Exception):
    pass


@tasks.errorhandler(OutOfTasks)
def out_of_tasks(error):
    """There is nothing to do."""
    return {"message": str(error), "code": 7}, 409, {"X-Code": "7"}


@tasks.route("/")
class Tasks(Resource):
    @tasks.expect(page)
    @tasks.marshal_list_with(task)
    def get(self):
        page.parse_args()
        return list(stored.values())

    @tasks.expect(task, validate=True)
    @tasks.marshal_with(task, code=201)
    def post(self):
        new = {**api.payload, "id": len(stored) + 1}
        stored[new["id"]] = new
        return new, 201, {"Location": api.url_for(Task, id=new["id"])}


@tasks.route("/<int:id>", endpoint="task")
class Task(Resource):
    @tasks.marshal_with(task, skip_none=True)
    def get(self, id):
        return stored[id] if id in stored else tasks.abort(404, f"No task {id}", hint="try 1")

    def delete(self, id):
        if id not in stored:
            raise OutOfTasks(f"{id} is done")
        del stored[id]
        return "", 204


@tasks.route("/file")
class File(Resource):
    @tasks.expect(upload)
    def put(self):
        file = upload.parse_args()["file"]
        return {"name": file.filename, "size": len(file.read()), "type": file.mimetype}


@tasks.route("/broken")
class Broken(Resource):
    def get(self):
        raise RuntimeError("broken")
