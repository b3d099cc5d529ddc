json_object({members})
