"""What visitors of the apps do: each public function of a module here is one story, told to both servers."""
